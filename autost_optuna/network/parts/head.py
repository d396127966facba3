"""The head: tokens to logits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import REAL, Operation, Row

if TYPE_CHECKING:
    from autost_optuna.network.parts.head_torch import LinearHeadModule


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearHead:
    """The mean over tokens and time steps, then one linear layer to `classes` logits."""

    word: ClassVar[str] = "linear"
    name: ClassVar[str] = "head"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"head": "#555555"}
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
            group="head",
            macs=at.width * self.classes,
            steps=1,
            driven_by=REAL,
            params=at.width * self.classes + self.classes,
        )

    def weights(self, at: Place) -> tuple[object, ...]:
        """The width and the classes."""
        return self.name, at.width, self.classes

    def module(self, at: Place) -> "LinearHeadModule":
        """The twin."""
        from autost_optuna.network.parts.head_torch import LinearHeadModule

        return LinearHeadModule(self, at)
