"""Spiking self-attention (Spikformer: Zhou et al., ICLR 2023, arXiv 2209.15425)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row, Sizes
from autost_optuna.network.values import as_count

if TYPE_CHECKING:
    from autost_optuna.network.parts.ssa_torch import SSAModule


@dataclass(frozen=True, kw_only=True, slots=True)
class SSA:
    """q k^T v of spikes, without softmax, in `num_heads` heads, which do not change the weights."""

    word: ClassVar[str] = "ssa"
    name: ClassVar[str] = "attention"
    labels: ClassVar[Mapping[str, str]] = {"num_heads": "heads"}
    colours: ClassVar[Mapping[str, str]] = {
        "q, k, v": "#56b4e9",
        "attention products": "#cc79a7",
        "projection": "#009e73",
    }
    num_heads: int

    def __post_init__(self) -> None:
        as_count("num_heads", self.num_heads)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError unless the heads divide the width."""
        return at.divided(self.num_heads).adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Linear layers of C C MACs per token, and two products: (q k^T) v of N^2 C MACs each, or q (k^T v) of N C C / h."""
        yield from at.entry()
        for name in ("q", "k", "v"):
            yield at.linear(name, "q, k, v", at.width, at.width, "neuron")
            yield at.neurons(f"{name}_neuron", at.tokens * at.width)
        stream = at.tokens * at.width
        if at.order == "qk":
            products, macs = (("qk", "q_neuron"), ("av", "v_neuron")), at.tokens**2 * at.width
            between = self.num_heads * at.tokens**2
        else:
            products, macs = (("kv", "v_neuron"), ("qa", "q_neuron")), at.tokens * at.width**2 // self.num_heads
            between = at.width**2 // self.num_heads
        each = Sizes(stream, between, stream, both=True), Sizes(stream, stream, between)
        for (name, driver), sizes in zip(products, each, strict=True):
            yield at.product(name, "attention products", sizes, macs=macs, driven_by=driver)
        yield at.neurons("out_neuron", at.tokens * at.width)
        yield at.linear("proj", "projection", at.width, at.width, "out_neuron")
        yield from at.exit("proj_neuron")

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block and the width."""
        return self.name, at.block, at.width

    def module(self, at: Place) -> "SSAModule":
        """The twin."""
        from autost_optuna.network.parts.ssa_torch import SSAModule

        return SSAModule(self, at)
