"""The front of a whole space that has too many classes to measure each: from a table of rates, its members then measured."""

import time
from collections.abc import Callable, Sequence

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.constraints import violation
from autost_optuna.front.front import Box, hypervolume, nondominated
from autost_optuna.search.exact import ExactFront, Member
from autost_optuna.search.objective import Objective
from autost_optuna.search.optimum import Found, table_front


def tabled_front(
    objective: Objective,
    box: Box,
    *,
    most: int | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ExactFront:
    """The front of the objective's whole space under a table of rates; its members are measured, or `most` of them.

    Members that are not measured count for the hypervolume with the table's energy.

    `on_done(done, total)` is called after each measurement. ValueError if the table would be too large, RuntimeError if no
    network is left.
    """
    space, constraints = objective.space, objective.constraints
    tabled = objective.table(on_done)
    start = time.monotonic()
    members = table_front(space, tabled.table, objective.convention, constraints)
    searched = time.monotonic()
    if not members:
        raise RuntimeError(f"no network keeps {constraints}; create the study with wider ones")
    chosen = [member.architecture for member in _spread_out(members, most)]
    measured: list[Candidate] = []
    for architecture in chosen:
        measured.append(objective.measure(architecture))
        on_done(len(measured), len(chosen))
    feasible = [
        one
        for one in measured
        if not violation(constraints.of_counts(one.architecture, objective.task) | constraints.of_energy(one.energy_mj))
    ]
    front = nondominated(feasible)
    if not front:
        raise RuntimeError(f"no network of the front fires and keeps {constraints}; create the study on other images")
    left_out = [member for member in members if member.architecture not in chosen]
    area = hypervolume([*front, *left_out], box)
    return ExactFront(
        members=tuple(
            Member(architecture=m.architecture, params=m.params, flops=m.flops, energy_mj=m.energy_mj) for m in front
        ),
        classes=0,
        evaluated=len(measured),
        hypervolume=area,
        best_hypervolume=area,
        spread=None,
        table=tabled.about.check,
        unmeasured=len(left_out),
        table_s=tabled.about.seconds,
        search_s=searched - start,
        duration_s=time.monotonic() - start + tabled.about.seconds,
    )


def _spread_out(members: Sequence[Found], most: int | None) -> Sequence[Found]:
    """At most so many of the members, at even distances, with both ends."""
    if most is None or len(members) <= most:
        return members
    if most == 1:
        return members[:1]
    return [members[round(place * (len(members) - 1) / (most - 1))] for place in range(most)]
