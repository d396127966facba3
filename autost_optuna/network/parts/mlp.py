"""The MLP of a block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row
from autost_optuna.network.values import Ratio, hidden_units

if TYPE_CHECKING:
    from autost_optuna.network.parts.mlp_torch import MLPModule


@dataclass(frozen=True, kw_only=True, slots=True)
class MLP:
    """Two linear layers, each reading spikes, with int(`mlp_ratio` C) hidden units."""

    word: ClassVar[str] = "mlp"
    name: ClassVar[str] = "mlp"
    labels: ClassVar[Mapping[str, str]] = {"mlp_ratio": "ratio"}
    colours: ClassVar[Mapping[str, str]] = {"MLP": "#e69f00"}
    mlp_ratio: Ratio

    def hidden(self, at: Place) -> int:
        """The hidden units."""
        return hidden_units(self.mlp_ratio, at.width)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError if no hidden unit is left."""
        self.hidden(at)
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Two layers of C int(ratio C) MACs per token."""
        hidden = self.hidden(at)
        yield from at.entry()
        yield at.linear("fc1", "MLP", at.width, hidden, "neuron")
        yield at.neurons("hidden_neuron", at.tokens * hidden)
        yield at.linear("fc2", "MLP", hidden, at.width, "hidden_neuron")
        yield from at.exit("out_neuron")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block, the width and the hidden units."""
        return self.name, at.block, at.width, self.hidden(at)

    def module(self, at: Place) -> "MLPModule":
        """The twin."""
        from autost_optuna.network.parts.mlp_torch import MLPModule

        return MLPModule(self, at)
