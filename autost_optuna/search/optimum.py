"""The front of a whole space under a table of rates, by dynamic programming: every network is taken into account.

With the rates of a table, MACs, parameters and energy of a network are sums over its parts. So of all beginnings of networks
with equal choices, one that costs more energy than another with as many MACs cannot lead to the front. It is dropped, block by
block, and what is left at the end is the front.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autost_optuna.front.constraints import Constraints
from autost_optuna.network.architecture import Architecture
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.table import RateTable
from autost_optuna.search.outlay import Costs, Outlay
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.sharing import Branch
from autost_optuna.space.space import Space

MOST_STATES = 1_000_000


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
    MACs apart. ValueError if they leave more than `MOST_STATES`, or the limits of a chip are to be kept.
    """
    import numpy as np

    bounds = constraints or Constraints()
    check_bounds(bounds)
    apart = any(bound is not None for bound in (bounds.min_params, bounds.max_params, bounds.max_flops))
    ends: list[tuple[Layout, tuple[int, ...], States]] = []
    for layout, offered in space.layouts.every():
        growth = _Growth(offered, Costs(space, layout, table, convention), apart)
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


def check_bounds(bounds: Constraints) -> None:
    """ValueError if the limits of a chip are to be kept."""
    if bounds.chip is not None:
        raise ValueError(
            f"this front of a whole space cannot keep the limits of {bounds.chip.name}; search the space with study run"
        )


class _Growth(NamedTuple):
    """How the networks of a layout grow, block by block; `apart` keeps beginnings of different MACs or parameters apart."""

    offered: Sequence[tuple[int, ...]]
    costs: Costs
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
