"""Classes of architectures with equal FLOPs and parameters, from what their blocks add to each."""

import functools
import itertools
import operator
from collections.abc import Collection, Sequence
from typing import NamedTuple

from autost_optuna.network.parts import Part
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Operation
from autost_optuna.network.values import Ratio
from autost_optuna.space.alphabet import Letter

Footprint = tuple[tuple[str, int], ...]
Sums = tuple[int, ...]  # blocks of each kind of mixer and MACs of each role, added up


@functools.lru_cache(1 << 12)
def footprint(letter: Letter, embed_dim: int) -> Footprint:
    """What a block adds to FLOPs and parameters: its kind of mixer, once, and its MACs in every role.

    MACs are per step on a grid of 8x8 tokens: those of a role grow alike with the grid, whatever the block.
    """
    mixer, ratio = letter
    at = Place(width=embed_dim, side=8, steps=1, still=False)
    parts: tuple[Part, ...] = (mixer, FEED_FORWARDS["mlp"](mlp_ratio=ratio))
    rows = (row for part in parts for row in part.rows(at.entering(0, part.name)) if isinstance(row, Operation))
    return (mixer.word, 1), *((row.role, row.macs) for row in rows)


class Kind(NamedTuple):
    """Blocks of a width that differ in nothing that FLOPs depend on: their mixers, MLP ratio, and summands of a class."""

    mixers: list[Part]
    ratio: Ratio
    sums: Sums


def kinds_of(letters: Sequence[Letter], embed_dim: int) -> list[Kind]:
    """The kinds of block among those of a width, in their order."""
    groups: dict[tuple[Footprint, Ratio], list[Part]] = {}
    for part, ratio in letters:
        groups.setdefault((footprint((part, ratio), embed_dim), ratio), []).append(part)
    names = sorted({name for footing, _ in groups for name, _ in footing})
    return [
        Kind(mixers, ratio, tuple(dict(footing).get(name, 0) for name in names))
        for (footing, ratio), mixers in groups.items()
    ]


def add(one: Sums, other: Sums) -> Sums:
    """Elementwise."""
    return tuple(map(operator.add, one, other))


def count_sums(kinds: Sequence[Kind], depths: Collection[int], most: int | None = None) -> int:
    """How many classes networks of these blocks have at these depths. Counting stops above `most`."""
    deepest = max(depths)
    bits = (max(max(kind.sums) for kind in kinds) * deepest).bit_length()  # of one summand: whole sums fit side by side
    steps = {sum(value << bits * place for place, value in enumerate(kind.sums)) for kind in kinds}
    totals, count = {0}, 0
    for depth in range(1, deepest + 1):
        totals = {total + step for total, step in itertools.product(totals, steps)}
        count += len(totals) * (depth in depths)
        if most is not None and max(count, len(totals)) > most:  # a deeper network has no fewer classes
            return max(count, len(totals))
    return count
