"""NSGA-II's selection (Deb et al. 2002): non-domination ranks, crowding distances, constrained domination."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from autost_optuna.search.genes import Genome


@dataclass(frozen=True, kw_only=True, slots=True)
class Individual:
    """A finished trial as a parent: `values` are to be minimised; an infeasible trial has none."""

    number: int
    genome: Genome
    values: tuple[float, ...]
    violation: float


def select(pool: Sequence[Individual], size: int) -> tuple[list[Individual], dict[int, tuple[int, float]]]:
    """The `size` best of the pool by rank, then crowding, and their (rank, crowding) by trial number.

    Infeasible ones rank after all feasible ones, by violation (constrained domination, Deb et al. 2002, sec. VI).
    """
    feasible = [individual for individual in pool if individual.violation <= 0]
    ranks = nondomination_ranks([individual.values for individual in feasible])
    fronts: dict[int, list[Individual]] = {}
    for individual, rank in zip(feasible, ranks, strict=True):
        fronts.setdefault(rank, []).append(individual)
    order: list[tuple[int, float, Individual]] = []
    for rank in sorted(fronts):
        crowding = crowding_distances([individual.values for individual in fronts[rank]])
        order += [(rank, c, individual) for c, individual in zip(crowding, fronts[rank], strict=True)]
    infeasible = sorted((i for i in pool if i.violation > 0), key=lambda i: (i.violation, i.number))
    order += [(len(fronts) + place, 0.0, individual) for place, individual in enumerate(infeasible)]
    order.sort(key=lambda line: (line[0], -line[1], line[2].number))  # sec. III-B, crowded comparison
    chosen = order[:size]
    return [line[2] for line in chosen], {line[2].number: line[:2] for line in chosen}


def nondomination_ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """The rank of each point, with all axes minimised: 0 if no other dominates it, 1 if only rank 0 does, and so on."""
    order = sorted(
        range(len(points)), key=lambda index: tuple(points[index])
    )  # only earlier points can dominate a point
    ranks = [0] * len(points)
    if points and len(points[0]) == 2:
        # The point of each rank with the least y, which dominates whatever any other point of the rank dominates.
        ends: list[tuple[float, float]] = []
        for index in order:
            x, y = points[index]
            rank = bisect.bisect_left(ends, (y, x))
            ends[rank : rank + 1] = [(y, x)]
            ranks[index] = rank
        return ranks
    for place, index in enumerate(order):
        dominating = (ranks[other] for other in order[:place] if dominates(points[other], points[index]))
        ranks[index] = 1 + max(dominating, default=-1)
    return ranks


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere larger than `other`, and somewhere smaller."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def crowding_distances(points: Sequence[Sequence[float]]) -> list[float]:
    """The crowding distance of each point of a front (Deb et al. 2002); it is infinite at the ends."""
    distances = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda index: points[index][axis])
        low, high = points[order[0]][axis], points[order[-1]][axis]
        if not 0 < high - low < math.inf:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, index, after in zip(order, order[1:], order[2:], strict=False):  # sec. III-B, the assignment's loop
            distances[index] += (points[after][axis] - points[before][axis]) / (high - low)
    return distances
