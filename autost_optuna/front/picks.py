"""Picks: members of a front that stand out, such as the knee or the best within a budget."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import AnyTraded, Box, in_plane, unique

KNEE = "knee"  # one of the names of picks


def knee(members: Sequence[AnyTraded]) -> AnyTraded:
    """The member farthest above the line between the front's ends, in logarithmic axes (Das 1999).

    With one or two members, the first. Raises ValueError if the front is empty.
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


def pick(members: Sequence[AnyTraded], box: Box, count: int) -> list[AnyTraded]:
    """The `count` members of a front with the largest joint hypervolume, or all members if there are no more.

    Exact, by dynamic programming over the front from its cheap end (Auger, Bader, Brockhoff, Zitzler 2009): with FLOPs
    ascending, a member adds the strip between the FLOPs of the previously chosen member and its own; the strip's height is
    how little energy it uses. ValueError if `count` is not positive.
    """
    import numpy as np

    if count < 1:
        raise ValueError(f"{count} members cannot be picked; ask for at least 1")
    members = in_plane(members)
    if count >= len(members):
        return list(members)
    scaled = np.array([box.scaled(m.flops, m.energy_mj) for m in members]).clip(0)
    gain, thrift = scaled.T
    area = gain * thrift  # hypervolume of the best choice that ends with each member; each round adds one member
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
    """The first trial of each architecture, by its key."""
    return {candidate.architecture.key: candidate.number for candidate in unique(candidates)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A member of a front that stands out, and why: "least energy", "knee", "most FLOPs"."""

    names: tuple[str, ...]
    candidate: Candidate

    @property
    def name(self) -> str:
        """All names, joined."""
        return " and ".join(self.names)


def picks_of(members: Sequence[Candidate]) -> list[Pick]:
    """The picks of a front, by ascending energy; a member picked twice has both names. ValueError if the front is empty."""
    chosen: dict[int, tuple[list[str], Candidate]] = {}
    members = in_plane(members)
    for name, member in (("least energy", members[:1]), (KNEE, [knee(members)]), ("most FLOPs", members[-1:])):
        chosen.setdefault(id(member[0]), ([], member[0]))[0].append(name)
    return [Pick(names=tuple(names), candidate=member) for names, member in chosen.values()]


def knee_of(picks: Sequence[Pick]) -> Candidate:
    """The knee among the picks of a front."""
    return next(pick.candidate for pick in picks if KNEE in pick.names)


def within(members: Sequence[AnyTraded], max_energy_mj: float) -> list[AnyTraded]:
    """The members of a front within an energy budget; the last has the most FLOPs. ValueError if there are none."""
    if not max_energy_mj > 0:
        raise ValueError(f"a budget of {max_energy_mj:g} mJ is not positive; give one such as 1.5")
    found = in_plane(member for member in members if member.energy_mj <= max_energy_mj)
    if not found:
        cheapest = units.energy(members[0].energy_mj) if members else "not known"
        raise ValueError(
            f"no member of the front costs at most {max_energy_mj:g} mJ; the cheapest one's energy is {cheapest}"
        )
    return found
