"""Closing measurement: the members of a front that a table of rates found are measured when a run ends."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from autost_optuna.search.objective import Objective
from autost_optuna.search.search import Search
from autost_optuna.search.tables import store_measured, stored_measured, with_measured


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """How many members were measured, in how many seconds, and how many are `left`, known by the table alone."""

    measured: int
    left: int
    duration_s: float


def measure_front(
    search: Search,
    objective: Objective,
    stopped: Callable[[], bool] = lambda: False,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Closing:
    """Measure members of the front until all are measured, or `stopped()`, and keep what was found with the study.

    A member that turns out to be dominated leaves the front, and what it dominated may enter and is measured too.
    `on_done(done, total)` is called after each measurement.
    """
    start, done = time.monotonic(), 0
    found, measured, bounds = search.evaluated(), stored_measured(search.study), search.settings.constraints
    while True:
        _, left = with_measured(found, measured, bounds)
        total = done + len(left)
        for member in left:
            if stopped():
                break
            number = member.number or 0
            measured |= stored_measured(search.study)  # another run may have measured some meanwhile
            if number in measured:
                continue
            measured[number] = replace(objective.measure(member.architecture), number=number)
            store_measured(search.study, measured[number])
            done += 1
            on_done(done, total)
        if not left or stopped():
            unknown = sum(member.number not in measured for member in left)
            return Closing(measured=done, left=unknown, duration_s=time.monotonic() - start)
