"""The head: tokens to logits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import REAL, Operation, Row, Sizes

if TYPE_CHECKING:
    from torch import nn

GROUP = "head"


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearHead:
    """The mean over tokens and time steps, then one linear layer to `classes` logits."""

    word: ClassVar[str] = "linear"
    name: ClassVar[str] = "head"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {GROUP: "#555555"}
    classes: int

    def after(self, at: Place) -> Place:
        """One token of `classes` values."""
        return replace(at, width=self.classes, side=1)

    def rows(self, at: Place) -> Iterator[Row]:
        """C K MACs, once for all steps, because the layer reads their mean."""
        yield Operation(
            name=at.path,
            stage=at.stage,
            role=at.part,
            group=GROUP,
            macs=at.width * self.classes,
            steps=1,
            driven_by=REAL,
            params=at.width * self.classes + self.classes,
            sizes=Sizes(at.width, self.classes),
        )

    def weights(self, at: Place) -> tuple[object, ...]:
        """The width and the classes."""
        return self.name, at.width, self.classes

    def module(self, at: Place) -> "nn.Module":
        """The twin."""
        from autost_optuna.network.parts.head_torch import LinearHeadModule

        return LinearHeadModule(self, at)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepHead(LinearHead):
    """The mean over tokens, then at every step one linear layer without bias, whose outputs are averaged (SpikingResformer)."""

    word: ClassVar[str] = "step"

    def rows(self, at: Place) -> Iterator[Row]:
        """C K MACs at every step, of real values."""
        params = at.width * self.classes
        sizes = Sizes(at.width, self.classes)
        row = at.weighted("linear", GROUP, sizes, macs=params, params=params, driven_by=REAL)
        yield replace(row, name=at.path, role=at.part)

    def module(self, at: Place) -> "nn.Module":
        """The twin."""
        from autost_optuna.network.parts.head_torch import StepHeadModule

        return StepHeadModule(self, at)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeHead(LinearHead):
    """The mean over tokens, neurons, and a linear layer: of their spikes at every step (SDT), or of their mean (Max-Former)."""

    word: ClassVar[str] = "spikes"
    once: bool = False

    def rows(self, at: Place) -> Iterator[Row]:
        """C K MACs of spikes at every step, or once of the mean of all steps."""
        yield at.neurons("neuron", at.width)
        macs, sizes = at.width * self.classes, Sizes(at.width, self.classes)
        driver = REAL if self.once else "head_neuron"
        row = at.weighted("linear", GROUP, sizes, macs=macs, params=macs + self.classes, driven_by=driver)
        yield replace(row, steps=1) if self.once else replace(row, driven_by=f"{at.path}.neuron")

    def module(self, at: Place) -> "nn.Module":
        """The twin."""
        from autost_optuna.network.parts.head_torch import SpikeHeadModule

        return SpikeHeadModule(self, at)


def head_called(form: str, classes: int) -> Any:
    """The head of a family, by its word in `styles`."""
    if form == "mean":
        return LinearHead(classes=classes)
    if form == "every step":
        return StepHead(classes=classes)
    return SpikeHead(classes=classes, once=form == "mean of spikes")
