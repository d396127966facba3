"""No mixer: a block that is an MLP only, as in the first stage of Max-Former (2025) on CIFAR."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row

if TYPE_CHECKING:
    from autost_optuna.network.parts.identity_torch import IdentityModule


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Nothing is added to the stream."""

    word: ClassVar[str] = "identity"
    name: ClassVar[str] = "identity"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {}

    def after(self, at: Place) -> Place:
        """The same stream."""
        return at

    def rows(self, at: Place) -> Iterator[Row]:
        """No rows."""
        return iter(())

    def weights(self, at: Place) -> tuple[object, ...]:
        """The name only: an identity has no weights."""
        return (self.name,)

    def module(self, at: Place) -> "IdentityModule":
        """The twin."""
        from autost_optuna.network.parts.identity_torch import IdentityModule

        return IdentityModule(self, at)
