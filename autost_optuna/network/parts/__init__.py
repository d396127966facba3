"""Parts of a network. Each states, without torch, what can be chosen and what it costs; its twin in *_torch.py computes it."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row


class Part(Protocol):
    """A part of a network: a frozen value whose fields can be chosen. It owns everything about itself.

    `name` is the name of its module, and the prefix of its rows' roles: "attention".
    """

    name: ClassVar[str]

    def after(self, at: Place) -> Place:
        """The stream that it passes on. ValueError if it cannot stand at `at`."""
        ...

    def rows(self, at: Place) -> Iterator[Row]:
        """Its operations and layers of neurons, in the order of the signal."""
        ...

    def weights(self, at: Place) -> tuple[object, ...]:
        """All that its weights at initialisation depend on, besides the seed and the kind of its neurons."""
        ...

    def module(self, at: Place) -> Any:
        """Its twin, a module of torch, on torch's current device, without weights; `initialise(seed)` draws them.

        It has two more attributes, `part` and `at`; `part` may be replaced by one with equal weights.
        """
        ...
