"""The feed-forward part of SpikingResformer (Shi, Hao, Yu, CVPR 2024, arXiv 2403.14302), with a grouped convolution."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row, Sizes
from autost_optuna.network.styles import GROUP
from autost_optuna.network.values import Ratio, hidden_units

if TYPE_CHECKING:
    from autost_optuna.network.parts.gffn_torch import GroupedFFNModule


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupedFFN:
    """Two linear layers with int(`mlp_ratio` C) hidden channels, and between them a 3x3 convolution that adds to these.

    A group has the channels that the family's code gives it, or the largest power of 2 below that divides the hidden ones.
    """

    word: ClassVar[str] = "gffn"
    name: ClassVar[str] = "gffn"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"MLP": "#e69f00", "grouped convolution": "#ddcc77"}
    mlp_ratio: Ratio

    def hidden(self, at: Place) -> int:
        """The hidden channels."""
        return hidden_units(self.mlp_ratio, at.width)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError if no hidden channel is left."""
        self.hidden(at)
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Two layers of C D MACs per token and a convolution of 9 D g, with D hidden channels in groups of g."""
        hidden = self.hidden(at)
        weights = 9 * hidden * math.gcd(hidden, at.group)
        yield from at.entry()
        yield at.linear("fc1", "MLP", at.width, hidden, "neuron")
        yield at.neurons("hidden_neuron", at.tokens * hidden)
        yield at.weighted(
            "grouped",
            "grouped convolution",
            Sizes(at.tokens * hidden, at.tokens * hidden),
            macs=weights * at.tokens,
            params=weights + 2 * hidden,
            driven_by="hidden_neuron",
        )
        yield at.neurons("grouped_neuron", at.tokens * hidden)
        row = at.linear("fc2", "MLP", hidden, at.width, "grouped_neuron")
        yield replace(row, driven_by=f"{at.path}.sum", most=2 * at.neuron.most) if at.spiking else row
        yield from at.exit("out_neuron")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block, the width, the hidden channels and, where they are others than 64, those of a group."""
        return self.name, at.block, at.width, self.hidden(at), *([] if at.group == GROUP else [at.group])

    def module(self, at: Place) -> "GroupedFFNModule":
        """The twin."""
        from autost_optuna.network.parts.gffn_torch import GroupedFFNModule

        return GroupedFFNModule(self, at)
