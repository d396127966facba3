"""The front of a whole space under a table of rates, by dynamic programming: every network is taken into account.

With the rates of a table, MACs, parameters and energy of a network are sums over its parts. So of all beginnings of networks
with equal choices, one that costs more energy than another with as many MACs cannot lead to the front. It is dropped, block by
block, and what is left at the end is the front.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from autost_optuna.front.constraints import Constraints
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain, rows_of
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.rows import Operation, Population
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy
from autost_optuna.proxies.table import RateTable, Slot, slots_of
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.sharing import Branch
from autost_optuna.space.space import Space

MOST_STATES = 1_000_000


class Outlay(NamedTuple):
    """MACs of all steps, parameters, and energy in pJ."""

    macs: int
    params: int
    energy: float


class States(NamedTuple):
    """Beginnings of networks: their MACs [n], parameters [n], energy in pJ [n], and blocks [n, depth] as indices of letters."""

    macs: Any
    params: Any
    energy: Any
    words: Any

    def at(self, places: Any) -> "States":
        """Those at some places."""
        return States._make(column[places] for column in self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A member of the front under a table, with its FLOPs, and its energy in mJ there."""

    architecture: Architecture
    flops: int
    energy_mj: float


def table_front(
    space: Space, table: RateTable, convention: Convention, constraints: Constraints | None = None
) -> list[Found]:
    """The front of FLOPs and energy of all networks of a space that keep the constraints, by ascending energy.

    Of networks with equal FLOPs and energy it has one. Bounds on parameters or on the most FLOPs keep beginnings with fewer
    MACs apart. ValueError if they leave more than `MOST_STATES`.
    """
    import numpy as np

    bounds = constraints or Constraints()
    apart = any(bound is not None for bound in (bounds.min_params, bounds.max_params, bounds.max_flops))
    ends: list[tuple[Layout, tuple[int, ...], States]] = []
    for layout, offered in space.layouts.every():
        growth = _Growth(offered, _Costs(space, layout, table, convention), apart)
        for branch in space.sharing.branches(layout.widths):
            for depths, states in growth.grown(branch, _start()):
                kept = _keeping(states, sum(depths), bounds)
                ends.append((layout, depths, states.at(kept)))
    owners = np.repeat(np.arange(len(ends)), [len(states.macs) for *_, states in ends])
    firsts = np.concatenate([[0], np.cumsum([len(states.macs) for *_, states in ends])])
    joined = _joined([states._replace(words=states.macs) for *_, states in ends])  # words differ in length
    found = []
    for place in _best(joined, apart=False)[::-1]:
        layout, depths, states = ends[owners[place]]
        word = iter(states.words[place - firsts[owners[place]]])
        offers = space.sharing.offered(layout.widths)
        letters = [some[next(word)] for some, depth in zip(offers, depths, strict=True) for _ in range(depth)]
        one = of_letters(layout, depths, letters)
        found.append(
            Found(architecture=one, flops=2 * int(joined.macs[place]), energy_mj=float(joined.energy[place]) * 1e-9)
        )
    return found


class _Costs:
    """What the parts of the networks of one layout cost."""

    def __init__(self, space: Space, layout: Layout, table: RateTable, convention: Convention) -> None:
        self.layout, self.table, self.step_pj = layout, table, convention.step.pj
        self.parts = replace(convention, step=replace(convention.step, pj=0.0))  # without what the whole network costs
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
        return Outlay(macs, params, energy + self.step_pj * steps)

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
        rates = {f"{link.at.path}.{name}": rate for name, rate in self.table.entries[slot].items()}
        charges = estimate_energy(listed, rates, self.parts, layers)
        return Outlay(
            sum(row.total_macs for row in listed),
            sum(row.params for row in rows),
            math.fsum(charge.energy_pj for charge in charges),
        )


class _Growth(NamedTuple):
    """How the networks of a layout grow, block by block; `apart` keeps beginnings of different MACs or parameters apart."""

    offered: Sequence[tuple[int, ...]]
    costs: _Costs
    apart: bool

    def grown(
        self, branch: Branch, states: States, prefix: tuple[int, ...] = ()
    ) -> Iterator[tuple[tuple[int, ...], States]]:
        """The networks of a branch whose first stages have the depths of `prefix` and are `states`, by their depths."""
        stage = len(prefix)
        after = [depths for depths in self.offered if depths[:stage] == prefix]
        by_depth: dict[int, list[States]] = {depths[stage]: [] for depths in after}
        for group in branch[stage]:
            running = states
            for number in range(max(by_depth)):
                depths = next(depths for depths in after if depths[stage] > number)
                running = self._extended(running, depths, sum(prefix) + number, group)
                if number + 1 in by_depth:
                    by_depth[number + 1].append(running)
        for depth, some in by_depth.items():
            depths, merged = (*prefix, depth), self._pruned(_joined(some))
            if len(depths) == len(branch):
                yield depths, _added(merged, self.costs.frame(depths))
            else:
                yield from self.grown(branch, merged, depths)

    def _extended(self, states: States, depths: tuple[int, ...], place: int, group: Sequence[Letter]) -> States:
        """Each of the states with one more block, of each letter of a group."""
        import numpy as np

        stage = next(stage for stage in range(len(depths)) if sum(depths[: stage + 1]) > place)
        each = [self.costs.block(depths, place, letter) for letter in group]
        sizes = [
            (column[:, None] + np.array(values)[None]).ravel()
            for column, values in zip(states[:3], zip(*each, strict=True), strict=True)
        ]
        kept = self._best(States(sizes[0], sizes[1], sizes[2], None))
        old, new = np.divmod(kept, len(group))
        letters = np.array([self.costs.indices[stage][letter] for letter in group], np.int32)
        words = np.concatenate([states.words[old], letters[new][:, None]], 1)
        return States._make([*(column[kept] for column in sizes), words])

    def _pruned(self, states: States) -> States:
        return states.at(self._best(states))

    def _best(self, states: States) -> Any:
        kept = _best(states, self.apart)
        if len(kept) > MOST_STATES:
            raise ValueError(
                f"bounds on parameters or FLOPs leave over {MOST_STATES:,} beginnings of networks apart; leave them out, "
                "or search the space with study run"
            )
        return kept


def _start() -> States:
    """A network without blocks."""
    import numpy as np

    return States(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 0), np.int32))


def _joined(some: Sequence[States]) -> States:
    import numpy as np

    return States._make(np.concatenate(columns) for columns in zip(*some, strict=True))


def _added(states: States, cost: Outlay) -> States:
    return States(states.macs + cost.macs, states.params + cost.params, states.energy + cost.energy, states.words)


def _best(states: States, apart: bool) -> Any:
    """The places of the states that none dominates, the most MACs first; `apart` only among those of equal counts."""
    import numpy as np

    if apart:
        order = np.lexsort((states.energy, states.params, -states.macs))
        macs, params = states.macs[order], states.params[order]
        new = np.ones(len(order), bool)
        new[1:] = (macs[1:] != macs[:-1]) | (params[1:] != params[:-1])
        return order[new]
    order = np.lexsort((states.energy, -states.macs))
    energy = states.energy[order]
    below = np.concatenate([[np.inf], np.minimum.accumulate(energy)[:-1]])
    return order[energy < below]


def _keeping(states: States, depth: int, bounds: Constraints) -> Any:
    """The places of the states that keep all bounds."""
    import numpy as np

    kept = np.full(len(states.macs), depth >= (bounds.min_depth or 0) and depth <= (bounds.max_depth or math.inf))
    limits: Mapping[str, Any] = {"params": states.params, "flops": 2 * states.macs, "energy_mj": states.energy * 1e-9}
    for name, values in limits.items():
        kept &= values >= (getattr(bounds, f"min_{name}", None) or 0)
        kept &= values <= (getattr(bounds, f"max_{name}") or np.inf)
    return np.flatnonzero(kept)
