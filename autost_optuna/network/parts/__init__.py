"""Parts of a network. Each states, without torch, what can be chosen and what it costs; its twin in *_torch.py computes it."""

import functools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Protocol

from autost_optuna.network.place import Place
from autost_optuna.network.rows import Row


class Part(Hashable, Protocol):
    """A part of a network: a frozen value whose fields can be chosen. It owns everything about itself.

    `word` names its kind in files and texts: "ssa". `name` is the name of its module, and the prefix of its rows' roles:
    "attention". `labels` gives genes other names in texts and tables, by their names as fields. `colours` are those of its
    rows' groups in figures; a group without one gets a colour that is free.
    """

    word: ClassVar[str]
    name: ClassVar[str]
    labels: ClassVar[Mapping[str, str]]
    colours: ClassVar[Mapping[str, str]]

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

        It has two more attributes, `part` and `at`; both may be replaced by others with equal weights.
        """
        ...


def genes_of(part: Any) -> tuple[str, ...]:
    """The names of the genes of a part, or of a kind of part: its fields."""
    return _fields(part if isinstance(part, type) else type(part))


@functools.cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
