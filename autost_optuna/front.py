"""Front: the non-dominated candidates of a search (FLOPs up, energy down), its hypervolume, knee and picks.

Where a search has further objectives, the front is of all of them; hypervolume, knee and picks stay those of the plane of
FLOPs and energy.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.goals import GOALS

KNEE = "knee"  # among the names of picks


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """The corners that make hypervolumes of one study comparable: `worst` is the reference point, `best` the ideal one."""

    worst_flops: float
    worst_energy_mj: float
    best_flops: float
    best_energy_mj: float

    def __post_init__(self) -> None:
        if not (0 < self.worst_flops < self.best_flops and 0 < self.best_energy_mj < self.worst_energy_mj):
            raise ValueError(f"{self} is no box: worst must be below best in FLOPs and above it in energy")

    def scaled(self, flops: float, energy_mj: float) -> tuple[float, float]:
        """A point in logarithmic axes, the reference point at (0, 0) and the ideal one at (1, 1); both grow with merit."""
        gain = math.log(flops / self.worst_flops) / math.log(self.best_flops / self.worst_flops)
        thrift = math.log(self.worst_energy_mj / energy_mj) / math.log(self.worst_energy_mj / self.best_energy_mj)
        return gain, thrift


def unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first candidate of every architecture; silent ones are left out, since their energy means nothing."""
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        if not candidate.silent:
            seen.setdefault(candidate.architecture.key, candidate)
    return list(seen.values())


def nondominated(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The members of the Pareto front, each architecture once, by ascending energy.

    And so by ascending FLOPs, unless the candidates have scores, which are then objectives too.
    """
    distinct = unique(candidates)
    return _in_all(distinct) if any(c.scores for c in distinct) else _staircase(distinct)


def in_plane(members: Iterable[Candidate]) -> list[Candidate]:
    """The members of a front that are non-dominated in FLOPs and energy alone: all of them where they have no scores."""
    found = list(members)
    return _staircase(found) if any(member.scores for member in found) else found


def _in_all(distinct: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other one dominates in FLOPs, energy and scores."""
    import numpy as np

    def merits(candidate: Candidate) -> tuple[float, ...]:
        signs = {"maximize": 1.0, "minimize": -1.0}
        scores = (signs[GOALS[name].direction] * value for name, value in candidate.scores)
        return (-candidate.energy_mj, float(candidate.flops), *scores)

    ordered = sorted(distinct, key=merits, reverse=True)  # none is dominated by one that comes after it
    points = np.array([merits(candidate) for candidate in ordered])
    kept: list[int] = []
    for place, point in enumerate(points):
        front = points[kept]
        if not ((front >= point).all(1) & (front > point).any(1)).any():
            kept.append(place)
    return [ordered[place] for place in kept]


def _staircase(distinct: Iterable[Candidate]) -> list[Candidate]:
    members: list[Candidate] = []
    for candidate in sorted(distinct, key=lambda c: (c.energy_mj, -c.flops)):
        last = members[-1] if members else None
        twin = last is not None and (candidate.flops, candidate.energy_mj) == (last.flops, last.energy_mj)
        if last is None or candidate.flops > last.flops or twin:
            members.append(candidate)
    return members


def part(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """The members of the Pareto front as of `nondominated`, and the dominated architectures, each once."""
    distinct = unique(candidates)
    members = nondominated(distinct)
    on_front = {id(member) for member in members}
    return members, [candidate for candidate in distinct if id(candidate) not in on_front]


class Staircase:
    """The area that a growing set of points dominates, kept up to date point by point; the reference point is (0, 0).

    The S metric of Zitzler and Thiele 1999 in two dimensions, both to be maximised: the area under the points' staircase.
    """

    def __init__(self) -> None:
        self.area = 0.0
        self._steps: list[tuple[float, float]] = []  # the undominated points, x ascending and y descending

    def add(self, x: float, y: float) -> None:
        """Take in a point; one that lies below the reference point in either axis dominates nothing."""
        if x <= 0 or y <= 0:
            return
        place = bisect.bisect_right(self._steps, x, key=lambda step: step[0])
        floor = self._steps[place][1] if place < len(self._steps) else 0.0
        if floor >= y or (place and self._steps[place - 1] >= (x, y)):
            return
        first, right = place, x
        while first and self._steps[first - 1][1] <= y:  # steps that the new point swallows
            first -= 1
            self.area += (right - self._steps[first][0]) * (y - floor)
            right, floor = self._steps[first]
        left = self._steps[first - 1][0] if first else 0.0
        self.area += (right - left) * (y - floor)
        self._steps[first:place] = [(x, y)]


def hypervolume(members: Iterable[Candidate], box: Box) -> float:
    """Share of the box, in logarithmic axes, that the members dominate: 0 to about 1, higher is better."""
    stairs = Staircase()
    for member in members:
        stairs.add(*box.scaled(member.flops, member.energy_mj))
    return stairs.area


def knee(members: Sequence[Candidate]) -> Candidate:
    """The member that bulges farthest over the line between the front's ends, in logarithmic axes (Das 1999).

    With one or two members, the first. Raises ValueError for an empty front.
    """
    if not members:
        raise ValueError("the front is empty, so it has no knee; run more trials")
    members = in_plane(members)
    first, last = members[0], members[-1]
    if len(members) < 3 or first.flops == last.flops:
        return first
    box = Box(
        worst_flops=first.flops,
        worst_energy_mj=last.energy_mj,
        best_flops=last.flops,
        best_energy_mj=first.energy_mj,
    )
    return max(members, key=lambda m: sum(box.scaled(m.flops, m.energy_mj)))


def pick(members: Sequence[Candidate], box: Box, count: int) -> list[Candidate]:
    """The `count` members of a front whose hypervolume together is the largest, all where there are no more of them.

    Exact, by dynamic programming over the front from its cheap end (Auger, Bader, Brockhoff, Zitzler 2009): with FLOPs
    ascending, a member adds the strip between the FLOPs of the one chosen before it and its own, as high as its thrift.
    ValueError where `count` is not positive.
    """
    import numpy as np

    if count < 1:
        raise ValueError(f"{count} members cannot be picked; ask for at least 1")
    members = in_plane(members)
    if count >= len(members):
        return list(members)
    scaled = np.array([box.scaled(m.flops, m.energy_mj) for m in members]).clip(0)
    gain, thrift = scaled.T
    area = gain * thrift  # of the best choice that ends with a member, of one more member in each round
    rounds: list[list[int]] = []
    for chosen in range(1, count):
        before = [int((area[:last] - thrift[last] * gain[:last]).argmax()) for last in range(chosen, len(members))]
        rounds.append([*[0] * chosen, *before])
        found = [area[i] + (gain[k] - gain[i]) * thrift[k] for k, i in enumerate(before, chosen)]
        area = np.array([*[-np.inf] * chosen, *found])
    places = [int(area.argmax())]
    for before in reversed(rounds):
        places.append(before[places[-1]])
    return [members[place] for place in reversed(places)]


def numbers_of(candidates: Iterable[Candidate]) -> dict[str, int | None]:
    """The trial of each architecture by its key, the first where there are several."""
    return {candidate.architecture.key: candidate.number for candidate in unique(candidates)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A member of a front that stands out, and by what: "least energy", "knee", "most FLOPs"."""

    names: tuple[str, ...]
    candidate: Candidate

    @property
    def name(self) -> str:
        """All names in one."""
        return " and ".join(self.names)


def picks_of(members: Sequence[Candidate]) -> list[Pick]:
    """The picks of a front, by ascending energy; a member that is picked twice has both names. ValueError of an empty front."""
    chosen: dict[int, tuple[list[str], Candidate]] = {}
    members = in_plane(members)
    for name, member in (("least energy", members[:1]), (KNEE, [knee(members)]), ("most FLOPs", members[-1:])):
        chosen.setdefault(id(member[0]), ([], member[0]))[0].append(name)
    return [Pick(names=tuple(names), candidate=member) for names, member in chosen.values()]


def knee_of(picks: Sequence[Pick]) -> Candidate:
    """The knee among the picks of a front."""
    return next(pick.candidate for pick in picks if KNEE in pick.names)


def within(members: Sequence[Candidate], max_energy_mj: float) -> list[Candidate]:
    """The members of a front within a budget of energy; the last has the most FLOPs. ValueError where there is none."""
    if not max_energy_mj > 0:
        raise ValueError(f"a budget of {max_energy_mj:g} mJ is not positive; give one such as 1.5")
    found = in_plane(member for member in members if member.energy_mj <= max_energy_mj)
    if not found:
        cheapest = units.energy(members[0].energy_mj) if members else "not known"
        raise ValueError(
            f"no member of the front costs at most {max_energy_mj:g} mJ; the cheapest one's energy is {cheapest}"
        )
    return found


def nondomination(candidates: Iterable[Candidate], *, replicates: int = 1000, seed: int = 0) -> dict[str, float | None]:
    """The probability of each architecture, by its key, that it is non-dominated in mean energy over images and seeds.

    Seeds, with their weights and images, are drawn with replacement, the same ones for all candidates (a paired bootstrap:
    common random numbers), and the share of draws counts in which the architecture is non-dominated. What all networks
    share, such as images on which all of them fire more, does not blur the comparison. Of one seed the images are drawn:
    that says nothing of other initialisations, and as images of a batch are normalised together it overstates what other
    images change in a comparison about 3 times (studies/energy_convergence). Of one image nothing can be said, and the
    probabilities are None. ValueError where candidates were measured on different numbers of images or seeds.
    """
    import numpy as np

    distinct = sorted(unique(candidates), key=lambda c: -c.flops)
    if len({(c.images, c.seeds) for c in distinct}) > 1:
        raise ValueError("the candidates were measured on different numbers of images or seeds; measure them alike")
    if not distinct:
        return {}
    energies = np.array([c.energies_mj for c in distinct])  # [n, seeds, images]
    units = energies.mean(2) if energies.shape[1] > 1 else energies[:, 0]
    count = units.shape[1]
    if count == 1:
        return dict.fromkeys((c.architecture.key for c in distinct), None)
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, replicates) / count
    means = units @ drawn.T  # [n, replicates]
    flops = np.array([c.flops for c in distinct])
    starts = np.flatnonzero(np.r_[True, flops[1:] != flops[:-1]])  # of the groups of equal FLOPs, the largest first
    least = np.minimum.reduceat(means, starts)
    above = np.minimum.accumulate(np.vstack([np.full((1, replicates), np.inf), least]))[:-1]
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(flops)]))
    kept = (means < above[group]) & (means <= least[group])
    return {c.architecture.key: float(share) for c, share in zip(distinct, kept.mean(1), strict=True)}
