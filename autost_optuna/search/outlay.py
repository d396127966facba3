"""Outlay: what networks cost under a table of rates, part by part, and any number of them at once as arrays."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain, rows_of
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.rows import Operation, Population
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, total_pj
from autost_optuna.proxies.table import RateTable, Slot, layout_of, slots_of
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.space import Space

ROWS = 1 << 15  # networks at once, so that arrays stay in the processor's cache


class Outlay(NamedTuple):
    """MACs of all steps, parameters, and energy in pJ."""

    macs: int
    params: int
    energy: float


def check_sums(convention: Convention) -> None:
    """ValueError if energies are no sums over parts."""
    if convention.sized:
        raise ValueError(
            f"{convention.name} prices bits by how much of a whole network fits, so no sum over parts gives its energy; "
            "search the space with study run"
        )


class Costs:
    """What the parts of the networks of one layout cost. ValueError if energies are no sums over parts."""

    def __init__(self, space: Space, layout: Layout, table: RateTable, convention: Convention) -> None:
        check_sums(convention)
        self.layout, self.table, self.convention = layout, table, convention
        self.offers = space.sharing.offered(layout.widths)
        self.indices = [{letter: place for place, letter in enumerate(some)} for some in self.offers]
        self._links: dict[tuple[int, ...], list[tuple[Slot, Link]]] = {}

    def _walk(self, depths: tuple[int, ...]) -> list[tuple[Slot, Link]]:
        """Some network with these depths."""
        if depths not in self._links:
            letters = [some[0] for some, depth in zip(self.offers, depths, strict=True) for _ in range(depth)]
            network = of_letters(self.layout, depths, letters)
            self._links[depths] = list(slots_of(self.layout, chain(network, self.table.task)))
        return self._links[depths]

    def frame(self, depths: tuple[int, ...]) -> Outlay:
        """Stem, embeddings and head of networks with these depths, and what the convention charges for the whole network."""
        walk = self._walk(depths)
        each = [self._part(slot, link) for slot, link in walk if not link.adds]
        steps = max(row.steps for _, link in walk for row in rows_of(link.part, link.at) if isinstance(row, Operation))
        macs, params, energy = map(sum, zip(*each, strict=True))
        return Outlay(macs, params, energy + self.convention.step_pj * steps)

    def block(self, depths: tuple[int, ...], place: int, letter: Letter) -> Outlay:
        """Block `place` of a network with these depths, with the parts of a letter."""
        (slot, link), (after, then) = [pair for pair in self._walk(depths) if pair[1].at.block == place]
        mixer, ratio = letter
        feed_forward = FEED_FORWARDS[then.part.word](mlp_ratio=ratio)
        at = replace(link.at, part=mixer.name)
        behind = mixer.after(at).entering(place, feed_forward.name, then.at.stage)
        first = self._part(slot._replace(part=mixer), link._replace(at=at, part=mixer))
        second = self._part(
            after._replace(mixer=mixer.word, part=feed_forward), then._replace(at=behind, part=feed_forward)
        )
        return Outlay(first.macs + second.macs, first.params + second.params, first.energy + second.energy)

    def _part(self, slot: Slot, link: Link) -> Outlay:
        rows = rows_of(link.part, link.at)
        listed = [row for row in rows if isinstance(row, Operation)]
        layers = [row for row in rows if isinstance(row, Population)]
        entry = self.table.entries[slot].items()
        rates = {f"{link.at.path}.{name}": math.fsum(values) / len(values) for name, values in entry}
        charges = estimate_energy(listed, rates, self.convention, layers)
        each = [charge for charge in charges if charge.kind != "static"]  # which `frame` adds for the whole network
        idle_pj = self.convention.pj_per_mac * sum(charge.macs * charge.steps for charge in each)
        return Outlay(
            sum(row.total_macs for row in listed),
            sum(row.params for row in rows),
            total_pj(each) + idle_pj,
        )


class Words(NamedTuple):
    """Networks as arrays: the shape of each [n], and its blocks [n, deepest] as indices of letters, 0 behind the last one.

    A shape is a layout with depths, by its place in `Outlays.shapes`.
    """

    shapes: Any
    letters: Any


class Columns(NamedTuple):
    """What networks cost: FLOPs per image [n], parameters [n], and energy in mJ per image [n]."""

    flops: Any
    params: Any
    energy_mj: Any


class Outlays:
    """FLOPs, parameters and energy of any number of networks of a space at once, with the rates of a table.

    The figures are those of the objective with the same table; energies may differ in the last digits, because their parts
    are added in another order.
    """

    def __init__(self, space: Space, table: RateTable, convention: Convention) -> None:
        import numpy as np

        self.space = space
        self.shapes = [(layout, depths) for layout, offered in space.layouts.every() for depths in offered]
        self._places = {shape: place for place, shape in enumerate(self.shapes)}
        deepest = max(sum(depths) for _, depths in self.shapes)
        self._starts = np.zeros((len(self.shapes), deepest), np.int32)
        frames, blocks = [], [Outlay(0, 0, 0.0)]  # the first is that of no block
        for layout, some in itertools.groupby(enumerate(self.shapes), key=lambda shape: shape[1][0]):
            costs = Costs(space, layout, table, convention)
            for shape, (_, depths) in some:
                frames.append(costs.frame(depths))
                stages = [stage for stage, depth in enumerate(depths) for _ in range(depth)]
                for place, stage in enumerate(stages):
                    self._starts[shape, place] = len(blocks)
                    blocks += [costs.block(depths, place, letter) for letter in costs.offers[stage]]
        kinds = np.int64, np.int64, np.float64
        self._frames = [np.array(values, kind) for values, kind in zip(zip(*frames, strict=True), kinds, strict=True)]
        self._blocks = [np.array(values, kind) for values, kind in zip(zip(*blocks, strict=True), kinds, strict=True)]

    def of(self, words: Words) -> Columns:
        """What each of the networks costs."""
        import numpy as np

        found: list[list[Any]] = [[], [], []]
        for start in range(0, len(words.shapes), ROWS):
            shapes, letters = (column[start : start + ROWS] for column in words)
            places = self._starts[shapes] + letters
            for column, frames, blocks in zip(found, self._frames, self._blocks, strict=True):
                column.append(frames[shapes] + blocks.take(places).sum(1))
        macs, params, energy = (
            np.concatenate([kinds[:0], *column]) for kinds, column in zip(self._frames, found, strict=True)
        )
        return Columns(flops=2 * macs, params=params, energy_mj=energy * 1e-9)

    def words(self, architectures: Iterable[Architecture]) -> Words:
        """Architectures as arrays. ValueError names one that is not in the space."""
        import numpy as np

        some = list(architectures)
        shapes = np.zeros(len(some), np.int32)
        letters = np.zeros((len(some), self._starts.shape[1]), np.int32)
        for row, one in enumerate(some):
            if one not in self.space:
                raise ValueError(f"{one.to_text()} is not in the space {self.space.name}; choose among its networks")
            layout, depths = layout_of(one), tuple(depth for _, depth in one.stages)
            shapes[row] = self._places[layout, depths]
            offers = self.space.sharing.offered(layout.widths)
            stages = [offer for offer, depth in zip(offers, depths, strict=True) for _ in range(depth)]
            for place, letter in enumerate(zip(one.mixers, one.mlp_ratio, strict=True)):
                letters[row, place] = stages[place].index(letter)
        return Words(shapes, letters)

    def architectures(self, words: Words) -> list[Architecture]:
        """The architectures behind the arrays."""
        found = []
        for shape, row in zip(words.shapes.tolist(), words.letters.tolist(), strict=True):
            layout, depths = self.shapes[shape]
            offers = self.space.sharing.offered(layout.widths)
            stages = [some for some, depth in zip(offers, depths, strict=True) for _ in range(depth)]
            blocks = [some[letter] for some, letter in zip(stages, row, strict=False)]
            found.append(of_letters(layout, depths, blocks))
        return found

    def draw(self, count: int, seed: int = 0) -> Words:
        """Networks at random: every shape is as likely, then what blocks share, then every block."""
        import numpy as np

        generator = np.random.default_rng(seed)
        shapes = generator.integers(len(self.shapes), size=count).astype(np.int32)
        letters = np.zeros((count, self._starts.shape[1]), np.int32)
        for shape, (layout, depths) in enumerate(self.shapes):
            rows = np.flatnonzero(shapes == shape)
            branches = self.space.sharing.branches(layout.widths)
            offers = self.space.sharing.offered(layout.widths)
            chosen = generator.integers(len(branches), size=len(rows))
            for number, branch in enumerate(branches):
                some, first = rows[chosen == number], 0
                for offered, groups, depth in zip(offers, branch, depths, strict=True):
                    sizes = np.array([len(group) for group in groups])
                    known = np.zeros((len(groups), sizes.max()), np.int32)
                    for place, group in enumerate(groups):
                        known[place, : len(group)] = [offered.index(letter) for letter in group]
                    drawn = generator.integers(len(groups), size=len(some))
                    picks = (generator.random((len(some), depth)) * sizes[drawn][:, None]).astype(np.int64)
                    letters[some, first : first + depth] = known[drawn[:, None], picks]
                    first += depth
        return Words(shapes, letters)
