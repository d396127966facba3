"""QK attention of tokens and of channels (QKFormer: Zhou et al., NeurIPS 2024, arXiv 2403.16552): q masks k."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.parts.sdsa import masked_rows
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row
from autost_optuna.network.values import as_count

if TYPE_CHECKING:
    from autost_optuna.network.parts.qk_torch import ChannelQKModule, TokenQKModule

COLOURS = {"q, k, v": "#56b4e9", "projection": "#009e73"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenQK:
    """Tokens of k pass where neurons that read the number of spikes of q in a head fire."""

    word: ClassVar[str] = "qkta"
    name: ClassVar[str] = "qkta"
    labels: ClassVar[Mapping[str, str]] = {"num_heads": "heads"}
    colours: ClassVar[Mapping[str, str]] = COLOURS
    num_heads: int

    def __post_init__(self) -> None:
        as_count("num_heads", self.num_heads)

    def after(self, at: Place) -> Place:
        """The same shape. ValueError unless the heads divide the width."""
        return at.divided(self.num_heads).adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Linear layers of C C MACs per token; masks cost none."""
        yield from masked_rows(at, ("q", "k"), masks=at.tokens * self.num_heads)

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block and the width."""
        return self.name, at.block, at.width

    def module(self, at: Place) -> "TokenQKModule":
        """The twin."""
        from autost_optuna.network.parts.qk_torch import TokenQKModule

        return TokenQKModule(self, at)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelQK:
    """Channels of k pass where neurons that read the number of tokens with spikes of q fire. Heads would change nothing."""

    word: ClassVar[str] = "qkca"
    name: ClassVar[str] = "qkca"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = COLOURS

    def after(self, at: Place) -> Place:
        """The same shape."""
        return at.adding()

    def rows(self, at: Place) -> Iterator[Row]:
        """Linear layers of C C MACs per token; masks cost none."""
        yield from masked_rows(at, ("q", "k"), masks=at.width)

    def weights(self, at: Place) -> tuple[object, ...]:
        """The block and the width."""
        return self.name, at.block, at.width

    def module(self, at: Place) -> "ChannelQKModule":
        """The twin."""
        from autost_optuna.network.parts.qk_torch import ChannelQKModule

        return ChannelQKModule(self, at)
