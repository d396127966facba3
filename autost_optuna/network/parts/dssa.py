"""Dual spike self-attention (SpikingResformer: Shi, Hao, Yu, CVPR 2024, arXiv 2403.14302)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row, Sizes
from autost_optuna.network.values import as_count

if TYPE_CHECKING:
    from autost_optuna.network.parts.dssa_torch import DSSAModule


@dataclass(frozen=True, kw_only=True, slots=True)
class DSSA:
    """A convolution of `patch` x `patch` patches gives two real-valued maps that are multiplied with spikes, in `num_heads`."""

    word: ClassVar[str] = "dssa"
    name: ClassVar[str] = "dssa"
    labels: ClassVar[Mapping[str, str]] = {"num_heads": "heads"}
    colours: ClassVar[Mapping[str, str]] = {
        "patches": "#56b4e9",
        "attention products": "#cc79a7",
        "projection": "#009e73",
    }
    num_heads: int
    patch: int

    def __post_init__(self) -> None:
        as_count("num_heads", self.num_heads)
        as_count("patch", self.patch)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError unless the heads divide the width, and a patch fits into the grid."""
        at.divided(self.num_heads)
        if self.patch > at.side:
            raise ValueError(f"patch {self.patch} is larger than the {at.side}x{at.side} tokens; choose a smaller one")
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """2 C C p p MACs per patch, two products of M N C MACs, and the projection's C C per token.

        M patches of p x p tokens stand side by side; the authors' convolution leaves out the tokens that fill no patch.
        """
        patches = (at.side // self.patch) ** 2
        weights = 2 * at.width**2 * self.patch**2
        yield from at.entry()
        stream, maps, scores = at.tokens * at.width, patches * at.width, self.num_heads * patches * at.tokens
        yield at.weighted(
            "patches",
            "patches",
            Sizes(stream, 2 * maps),
            macs=weights * patches,
            params=weights + 4 * at.width,
            driven_by="neuron",
        )
        macs = patches * stream
        yield at.product("scores", "attention products", Sizes(stream, scores, maps), macs=macs, driven_by="neuron")
        yield at.neurons("scores_neuron", scores)
        yield at.product(
            "sums", "attention products", Sizes(scores, stream, maps), macs=macs, driven_by="scores_neuron"
        )
        yield at.neurons("out_neuron", at.tokens * at.width)
        yield at.linear("proj", "projection", at.width, at.width, "out_neuron")
        yield from at.exit("proj_neuron")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block, the width, and what shapes its layers."""
        return self.name, at.block, at.width, self.num_heads, self.patch

    def module(self, at: Place) -> "DSSAModule":
        """The twin."""
        from autost_optuna.network.parts.dssa_torch import DSSAModule

        return DSSAModule(self, at)
