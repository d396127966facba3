"""The front of a whole space that has too many classes to measure each: from a table of rates, its members then measured."""

import math
import random
import time
from collections.abc import Callable, Sequence
from statistics import median

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.constraints import violation
from autost_optuna.front.front import Box, hypervolume, nondominated
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, total_mj
from autost_optuna.proxies.table import RateTable, TableCheck, tabulate
from autost_optuna.ranks import rank
from autost_optuna.search.exact import ExactFront, Member
from autost_optuna.search.objective import Objective
from autost_optuna.search.optimum import Found, table_front

HELD_OUT = 20  # networks that show how good the table is


def tabled_front(
    objective: Objective,
    box: Box,
    *,
    seed: int = 0,
    most: int | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ExactFront:
    """The front of the objective's whole space under a table of rates; its members are measured, or `most` of them.

    Members that are not measured count for the hypervolume with the table's energy.

    `on_done(done, total)` is called after each measurement. ValueError if the table would be too large, RuntimeError if no
    network is left.
    """
    start = time.monotonic()
    space, constraints = objective.space, objective.constraints
    table = tabulate(objective.rates, space, seed, on_done)
    tabled = time.monotonic()
    members = table_front(space, table, objective.convention, constraints)
    searched = time.monotonic()
    if not members:
        raise RuntimeError(f"no network keeps {constraints}; create the study with wider ones")
    chosen = [member.architecture for member in _spread_out(members, most)]
    generator = random.Random(seed)
    others = [space.draw(generator) for _ in range(HELD_OUT)]
    measured: list[Candidate] = []
    for architecture in [*chosen, *others]:
        measured.append(objective.evaluate(architecture))
        on_done(len(measured), len(chosen) + len(others))
    feasible = [
        one
        for one in measured
        if not violation(constraints.of_counts(one.architecture, objective.task) | constraints.of_energy(one.energy_mj))
    ]
    front = [
        one for one in nondominated(feasible) if one.architecture in chosen
    ]  # a few measured ones do not fill gaps
    if not front:
        raise RuntimeError(f"no network of the front fires and keeps {constraints}; create the study on other images")
    left_out = [member for member in members if member.architecture not in chosen]
    area = hypervolume([*front, *left_out], box)
    check = check_table(table, measured[len(chosen) :], objective.convention)
    return ExactFront(
        members=tuple(
            Member(architecture=m.architecture, params=m.params, flops=m.flops, energy_mj=m.energy_mj) for m in front
        ),
        classes=0,
        evaluated=len({one.architecture for one in measured}),
        hypervolume=area,
        best_hypervolume=area,
        spread=None,
        table=check,
        unmeasured=len(left_out),
        table_s=tabled - start,
        search_s=searched - tabled,
        duration_s=time.monotonic() - start,
    )


def check_table(table: RateTable, measured: Sequence[Candidate], convention: Convention) -> TableCheck:
    """How far the table's energies are from measured ones, of networks that are not silent."""
    pairs = []
    for candidate in measured:
        if not candidate.silent:
            listed, layers = operations_and_populations(candidate.architecture, table.task)
            charges = estimate_energy(listed, table.rates(candidate.architecture), convention, layers)
            pairs.append((total_mj(charges), candidate.energy_mj))
    ranks = rank(*zip(*pairs, strict=True)) if pairs else None
    errors = sorted(abs(tabled / energy - 1) for tabled, energy in pairs) or [math.nan]
    return TableCheck(
        entries=len(table.entries),
        samples=len(pairs),
        median=median(errors),
        p95=errors[math.ceil(0.95 * len(errors)) - 1],
        largest=errors[-1],
        kendall=None if ranks is None else ranks.kendall,
    )


def _spread_out(members: Sequence[Found], most: int | None) -> Sequence[Found]:
    """At most so many of the members, at even distances, with both ends."""
    if most is None or len(members) <= most:
        return members
    if most == 1:
        return members[:1]
    return [members[round(place * (len(members) - 1) / (most - 1))] for place in range(most)]
