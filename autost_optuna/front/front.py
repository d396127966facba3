"""Front: the non-dominated candidates of a search (more FLOPs, less energy), its hypervolume, knee and picks.

If a search has further objectives, the front covers all of them; hypervolume, knee and picks use only FLOPs and energy.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from autost_optuna.front.candidate import Candidate
from autost_optuna.proxies.goals import GOALS


class Traded(Protocol):
    """What trades FLOPs against energy."""

    @property
    def flops(self) -> int:
        """FLOPs per image."""
        ...

    @property
    def energy_mj(self) -> float:
        """Energy in mJ per image."""
        ...


AnyTraded = TypeVar("AnyTraded", bound=Traded)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """The corners that make hypervolumes of one study comparable: `worst` is the reference point, `best` the ideal point."""

    worst_flops: float
    worst_energy_mj: float
    best_flops: float
    best_energy_mj: float

    def __post_init__(self) -> None:
        if not (0 < self.worst_flops < self.best_flops and 0 < self.best_energy_mj < self.worst_energy_mj):
            raise ValueError(f"{self} is no box: worst must be below best in FLOPs and above it in energy")

    def scaled(self, flops: float, energy_mj: float) -> tuple[float, float]:
        """A point in logarithmic axes: the reference point is (0, 0), the ideal point (1, 1), and more is better in both."""
        gain = math.log(flops / self.worst_flops) / math.log(self.best_flops / self.worst_flops)
        thrift = math.log(self.worst_energy_mj / energy_mj) / math.log(self.worst_energy_mj / self.best_energy_mj)
        return gain, thrift


def unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first candidate of every architecture, without silent ones, whose energy is meaningless."""
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        if not candidate.silent:
            seen.setdefault(candidate.architecture.key, candidate)
    return list(seen.values())


def nondominated(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The members of the Pareto front, each architecture once, by ascending energy.

    FLOPs ascend as well, unless the candidates have scores, which are then objectives too.
    """
    distinct = unique(candidates)
    return _in_all(distinct) if any(c.scores for c in distinct) else _staircase(distinct)


def joined(members: list[Candidate], candidate: Candidate) -> list[Candidate]:
    """The front of a front and one more candidate, much faster than finding it anew."""
    if candidate.silent or any(
        m.flops == candidate.flops and m.architecture == candidate.architecture for m in members
    ):
        return members
    distinct = [*members, candidate]
    return _in_all(distinct) if candidate.scores else _staircase(distinct)


def in_plane(members: Iterable[AnyTraded]) -> list[AnyTraded]:
    """The members of a front that are non-dominated in FLOPs and energy alone: all of them if they have no scores."""
    found = list(members)
    return _staircase(found) if any(getattr(member, "scores", ()) for member in found) else found


def _in_all(distinct: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other dominates in FLOPs, energy and scores."""
    import numpy as np

    def merits(candidate: Candidate) -> tuple[float, ...]:
        signs = {"maximize": 1.0, "minimize": -1.0}
        scores = (signs[GOALS[name].direction] * value for name, value in candidate.scores)
        return (-candidate.energy_mj, float(candidate.flops), *scores)

    ordered = sorted(distinct, key=merits, reverse=True)  # sorted so that no candidate is dominated by a later one
    points = np.array([merits(candidate) for candidate in ordered])
    kept: list[int] = []
    for place, point in enumerate(points):
        front = points[kept]
        if not ((front >= point).all(1) & (front > point).any(1)).any():
            kept.append(place)
    return [ordered[place] for place in kept]


def _staircase(distinct: Iterable[AnyTraded]) -> list[AnyTraded]:
    members: list[AnyTraded] = []
    for candidate in sorted(distinct, key=lambda c: (c.energy_mj, -c.flops)):
        last = members[-1] if members else None
        twin = last is not None and (candidate.flops, candidate.energy_mj) == (last.flops, last.energy_mj)
        if last is None or candidate.flops > last.flops or twin:
            members.append(candidate)
    return members


def part(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """The members of the Pareto front, as in `nondominated`, and the dominated architectures, each once."""
    distinct = unique(candidates)
    members = nondominated(distinct)
    on_front = {id(member) for member in members}
    return members, [candidate for candidate in distinct if id(candidate) not in on_front]


class Staircase:
    """The area that a growing set of points dominates, kept up to date point by point; the reference point is (0, 0).

    S, the size of the space covered (Zitzler and Thiele 1999), in two dimensions that are both maximised: the area under
    the staircase of the points.
    """

    def __init__(self) -> None:
        self.area = 0.0
        self._steps: list[tuple[float, float]] = []  # the undominated points, x ascending and y descending

    def add(self, x: float, y: float) -> None:
        """Add a point; a point below the reference point in either axis dominates nothing."""
        if x <= 0 or y <= 0:
            return
        place = bisect.bisect_right(self._steps, x, key=lambda step: step[0])
        floor = self._steps[place][1] if place < len(self._steps) else 0.0
        if floor >= y or (place and self._steps[place - 1] >= (x, y)):
            return
        first, right = place, x
        while first and self._steps[first - 1][1] <= y:  # steps that the new point dominates
            first -= 1
            self.area += (right - self._steps[first][0]) * (y - floor)  # S, strip by strip
            right, floor = self._steps[first]
        left = self._steps[first - 1][0] if first else 0.0
        self.area += (right - left) * (y - floor)
        self._steps[first:place] = [(x, y)]


def hypervolume(members: Iterable[Traded], box: Box) -> float:
    """The share of the box, in logarithmic axes, that the members dominate: 0 to about 1, higher is better."""
    stairs = Staircase()
    for member in members:
        stairs.add(*box.scaled(member.flops, member.energy_mj))
    return stairs.area
