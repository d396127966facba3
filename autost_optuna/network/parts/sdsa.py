"""Spike-driven self-attention (SDT: Yao et al., NeurIPS 2023, arXiv 2307.01694): masks in place of products."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row
from autost_optuna.network.values import as_count

if TYPE_CHECKING:
    from autost_optuna.network.parts.sdsa_torch import SDSAModule


def masked_rows(at: Place, layers: Iterable[str], masks: int) -> Iterator[Row]:
    """The rows of attention by `masks` neurons: `layers` with neurons of their own, and a projection of what passes."""
    yield from at.entry()
    for name in layers:
        yield at.linear(name, "q, k, v", at.width, at.width, "neuron")
        yield at.neurons(f"{name}_neuron", at.tokens * at.width)
    yield at.neurons("mask_neuron", masks)
    yield at.gated("proj", "projection")
    yield from at.exit("proj_neuron")


@dataclass(frozen=True, kw_only=True, slots=True)
class SDSA:
    """Where k and v fire together often enough, over all tokens, a channel of q passes. Heads would change nothing."""

    word: ClassVar[str] = "sdsa"
    name: ClassVar[str] = "sdsa"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"q, k, v": "#56b4e9", "projection": "#009e73"}

    def after(self, at: Place) -> Place:
        """The same shape."""
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Linear layers of C C MACs per token; masks cost none."""
        yield from masked_rows(at, ("q", "k", "v"), masks=at.width)

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block and the width."""
        return self.name, at.block, at.width

    def module(self, at: Place) -> "SDSAModule":
        """The twin."""
        from autost_optuna.network.parts.sdsa_torch import SDSAModule

        return SDSAModule(self, at)


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledSDSA(SDSA):
    """The same with 3x3 maxima, without stride, as the authors have for recordings.

    k and v are pooled over the grid. Where both fire, and what passes the mask, is pooled over neighbouring tokens in their
    order and neighbouring channels of a head, so here the number of heads matters.
    """

    word: ClassVar[str] = "sdsa-pooled"
    name: ClassVar[str] = "sdsa_pooled"
    labels: ClassVar[Mapping[str, str]] = {"num_heads": "heads"}
    num_heads: int

    def __post_init__(self) -> None:
        as_count("num_heads", self.num_heads)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError unless the heads divide the width."""
        return at.divided(self.num_heads).adding()

    def module(self, at: Place) -> "SDSAModule":
        """The twin."""
        from autost_optuna.network.parts.sdsa_torch import PooledSDSAModule

        return PooledSDSAModule(self, at)
