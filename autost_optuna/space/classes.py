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
from autost_optuna.space.sharing import BLOCK, NETWORK, Sharing

Footprint = tuple[tuple[str, int], ...]
Sums = tuple[int, ...]  # what a footprint has, added up over blocks
SIDE_OF_TOKENS = 8  # of the grid on which blocks are compared
PARAMS = " parameters"  # behind the role that has them


def footprint(letter: Letter, embed_dim: int, form: Form = AUTOST) -> Footprint:
    """What a block of a network of that form adds to FLOPs and parameters: its kind of mixer, once, then each role's.

    MACs are per step on one grid: those of a role grow alike with the grid, whatever the block, except where a mixer cuts the
    grid into patches, so mixers of different patches are different kinds.
    """
    return _footprint(letter, embed_dim, form.stem, form.feed_forward)


@functools.lru_cache(1 << 14)
def _footprint(letter: Letter, embed_dim: int, stem: str, feed_forward: str) -> Footprint:
    mixer, ratio = letter
    found = {f"{mixer.word} {getattr(mixer, 'patch', '')}": 1}
    at = Place(width=embed_dim, side=SIDE_OF_TOKENS, steps=1, still=False, stem=stem)
    parts: tuple[Part, ...] = (mixer, FEED_FORWARDS[feed_forward](mlp_ratio=ratio))
    for row in (row for part in parts for row in part.rows(at.entering(0, part.name))):
        if isinstance(row, Operation):
            found |= {row.role: row.macs, f"{row.role}{PARAMS}": row.params}
    return tuple(found.items())


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
        widths = [sharing.common(layout.widths)] if sharing.unit == NETWORK else layout.widths
        offers = zip(sharing.offered(layout.widths), widths, strict=True)
        kinds = [kinds_of(letters, width, layout.form) for letters, width in offers]
        if sharing.unit == BLOCK and len(layout.widths) == 1:
            count += count_sums(kinds[0], [depth for (depth,) in offered], most)
        elif sharing.unit == BLOCK:
            by_depth = {
                (place, depth): count_sums(some, [depth], most)
                for place, some in enumerate(kinds)
                for depth in {depths[place] for depths in offered}
            }
            count += sum(math.prod(by_depth[pair] for pair in enumerate(depths)) for depths in offered)
        else:
            count += math.prod(len({kind.sums for kind in some}) for some in kinds) * len(offered)
        if most is not None and count > most:
            break
    return count


def corner(sharing: Sharing, layout: Layout, depths: tuple[int, ...], end: int) -> Architecture:
    """The network of a layout whose blocks have the fewest MACs (`end` 0), or the most (-1)."""
    letters: list[Letter] = []
    offered = sharing.offered(layout.widths)
    for stage, (width, depth) in enumerate(zip(layout.widths, depths, strict=True)):
        some = offered[0 if sharing.unit == NETWORK else stage]
        prints = (footprint(letter, width, layout.form) for letter in some)
        sized = [
            (sum(size for name, size in footing if not name.endswith(PARAMS)), place)
            for place, footing in enumerate(prints)
        ]
        letters += [some[(max(sized) if end else min(sized))[1]]] * depth
    return of_letters(layout, depths, letters)


def check_choices(space: str, layouts: Layouts, sharing: Sharing) -> None:
    """ValueError if some choice leaves no network, whatever the task."""
    layouts.check()
    neuron = neuron_of(layouts.neuron[0])
    every = [(layout, depths) for layout, depths in layouts.every() if layout.neuron == neuron]
    widths = {sharing.common(layout.widths) for layout, _ in every}
    sharing.alphabet.check_heads(space, sorted({width for layout, _ in every for width in layout.widths} | widths))
    for layout, depths in every:
        first = sharing.alphabet.letters(sharing.common(layout.widths))[0]
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
            for part, _ in letters[0 if sharing.unit == NETWORK else stage]:
                part.after(places[first])
