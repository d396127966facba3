"""Classes of architectures with equal FLOPs and parameters, from what their blocks add to each."""

import functools
import itertools
import math
import operator
from collections.abc import Collection, Sequence
from typing import NamedTuple

from autost_optuna.network.architecture import SIDE, Architecture
from autost_optuna.network.chain import chain
from autost_optuna.network.form import AUTOST, Form
from autost_optuna.network.neurons.kinds import neuron_of
from autost_optuna.network.parts import Part
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Operation
from autost_optuna.network.task import Task
from autost_optuna.network.values import Ratio
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout, Layouts
from autost_optuna.space.sharing import BLOCK, Sharing

Footprint = tuple[tuple[str, int], ...]
Sums = tuple[int, ...]  # what a footprint has, added up over blocks
SIDE_OF_TOKENS = 8  # of the grid on which blocks are compared
PARAMS = " parameters"  # behind the role that has them


def footprint(letter: Letter, embed_dim: int, form: Form = AUTOST) -> Footprint:
    """What a block of a network of that form adds to FLOPs and parameters: its kind of mixer, once, then each role's.

    MACs are per step on one grid. Those of a role grow alike with the grid in mixers of one kind: of one word, and with equal
    rows. So mixers that cut the grid into unlike patches are of different kinds.
    """
    return _footprint(letter, embed_dim, form.stem, form.feed_forward)


@functools.lru_cache(1 << 14)
def _footprint(letter: Letter, embed_dim: int, stem: str, feed_forward: str) -> Footprint:
    mixer, ratio = letter
    at = Place(width=embed_dim, side=SIDE_OF_TOKENS, steps=1, still=False, stem=stem)
    mixing, feeding = _sizes(mixer, at), _sizes(FEED_FORWARDS[feed_forward](mlp_ratio=ratio), at)
    return ((f"{mixer.word} {mixing}", 1), *mixing, *feeding)


def _sizes(part: Part, at: Place) -> Footprint:
    """The MACs and parameters of every operation of a part, by role."""
    rows = (row for row in part.rows(at.entering(0, part.name)) if isinstance(row, Operation))
    return tuple(pair for row in rows for pair in ((row.role, row.macs), (f"{row.role}{PARAMS}", row.params)))


class Kind(NamedTuple):
    """Blocks of a width that differ in nothing that FLOPs depend on: their mixers, MLP ratio, and summands of a class."""

    mixers: list[Part]
    ratio: Ratio
    sums: Sums


def kinds_of(letters: Sequence[Letter], embed_dim: int, form: Form = AUTOST) -> list[Kind]:
    """The kinds of block among those of a width, in their order, in networks of that form."""
    groups: dict[tuple[Footprint, Ratio], list[Part]] = {}
    for part, ratio in letters:
        groups.setdefault((footprint((part, ratio), embed_dim, form), ratio), []).append(part)
    tables = [dict(footing) for footing, _ in groups]
    columns: dict[Sums, None] = {}
    for name in sorted(set().union(*tables)):
        column = [table.get(name, 0) for table in tables]
        if common := math.gcd(*column):  # columns that are multiples of one another tell the same classes apart
            columns[tuple(value // common for value in column)] = None
    sums = zip(*columns, strict=True)
    return [Kind(mixers, ratio, total) for ((_, ratio), mixers), total in zip(groups.items(), sums, strict=True)]


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


def count_classes_in(layouts: Layouts, sharing: Sharing, most: int | None = None) -> int:
    """How many classes the networks of these layouts have. Counting stops above `most`."""
    count = 0
    for layout, offered in layouts.every():
        kinds = [
            kinds_of(letters, width, layout.form)
            for letters, width in zip(sharing.offered(layout.widths), layout.widths, strict=True)
        ]
        if sharing.unit != BLOCK:
            count += sum(_count_shared(sharing, layout, depths, kinds) for depths in offered)
        elif len(layout.widths) == 1:
            count += count_sums(kinds[0], [depth for (depth,) in offered], most)
        else:
            by_depth = {
                (place, depth): count_sums(some, [depth], most)
                for place, some in enumerate(kinds)
                for depth in {depths[place] for depths in offered}
            }
            count += sum(math.prod(by_depth[pair] for pair in enumerate(depths)) for depths in offered)
        if most is not None and count > most:
            break
    return count


def _count_shared(sharing: Sharing, layout: Layout, depths: tuple[int, ...], kinds: Sequence[Sequence[Kind]]) -> int:
    """How many classes the networks of a layout with these depths have, of which blocks share some choices."""
    sums = [
        {(mixer, kind.ratio): kind.sums for kind in some for mixer in kind.mixers} for some in kinds
    ]  # of every block, by stage
    stages = {
        tuple(
            frozenset().union(*(_totals({table[letter] for letter in group}, depth) for group in groups))
            for table, groups, depth in zip(sums, branch, depths, strict=True)
        )
        for branch in sharing.branches(layout.widths)
    }
    if len(stages) == 1:
        return math.prod(map(len, stages.pop()))
    return len(set().union(*(itertools.product(*some) for some in stages)))


def _totals(steps: Collection[Sums], depth: int) -> set[Sums]:
    """The sums that `depth` blocks may have."""
    totals = set(steps)
    for _ in range(depth - 1):
        totals = {add(total, step) for total, step in itertools.product(totals, steps)}
    return totals


def corner(sharing: Sharing, layout: Layout, depths: tuple[int, ...], end: int) -> Architecture:
    """The network of a layout whose blocks have the fewest MACs (`end` 0), or the most (-1)."""
    choose = max if end else min
    found = []
    for place, branch in enumerate(sharing.branches(layout.widths)):
        total, letters = 0, list[Letter]()
        for groups, width, depth in zip(branch, layout.widths, depths, strict=True):
            some = list(itertools.chain(*groups))
            macs, best = choose((_macs(letter, width, layout.form), each) for each, letter in enumerate(some))
            total, letters = total + macs * depth, letters + [some[best]] * depth
        found.append((total, place, letters))
    return of_letters(layout, depths, choose(found)[2])


def _macs(letter: Letter, width: int, form: Form) -> int:
    """The MACs of a block's footprint."""
    return sum(size for name, size in footprint(letter, width, form) if not name.endswith(PARAMS))


def check_choices(space: str, layouts: Layouts, sharing: Sharing) -> None:
    """ValueError if some choice leaves no network, whatever the task."""
    layouts.check()
    neuron = neuron_of(layouts.neuron[0])
    every = [(layout, depths) for layout, depths in layouts.every() if layout.neuron == neuron]
    widths = {math.gcd(*layout.widths) for layout, _ in every}
    sharing.alphabet.check_heads(space, sorted({width for layout, _ in every for width in layout.widths} | widths))
    for layout, depths in every:
        first = sharing.alphabet.letters(math.gcd(*layout.widths))[0]
        of_letters(layout, depths[0], [first] * sum(depths[0]))
    for width in widths:
        at = Place(width=width, side=SIDE, steps=1, still=False)
        for part, ratio in sharing.alphabet.letters(width):
            for one in (part, FEED_FORWARDS["mlp"](mlp_ratio=ratio)):
                one.after(at)


def check_buildable(layouts: Layouts, sharing: Sharing, task: Task) -> None:
    """ValueError if an architecture exceeds the task's bounds, or cannot be built for it."""
    for layout, offered in layouts.every():
        deepest = corner(sharing, layout, offered[-1], -1)
        task.check(deepest)
        places = {link.at.block: link.at for link in chain(corner(sharing, layout, offered[0], 0), task)}
        letters = sharing.offered(layout.widths)
        for stage, first in enumerate(itertools.accumulate((0, *offered[0][:-1]))):
            for part, _ in letters[stage]:
                part.after(places[first])
