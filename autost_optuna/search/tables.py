"""A study's table of rates: made once with its error, and kept with the study."""

import base64
import json
import math
import random
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import optuna

from autost_optuna import units
from autost_optuna.front.candidate import TABLE, Candidate
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.front.front import nondominated
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_mj, mean_by_operation
from autost_optuna.proxies.table import RateTable, TableCheck, slots_in
from autost_optuna.proxies.tabulate import scaling_networks, tabulate
from autost_optuna.ranks import rank
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.space.space import Space

if TYPE_CHECKING:
    from autost_optuna.proxies.reuse import InitialRates

HELD_OUT, TRIES = 20, 50  # different networks that show how good the table is, and draws for each
ATTR = f"{ATTRIBUTE}:table"
MEASURED_ATTR = f"{ATTRIBUTE}:measured:"
PIECE = 60_000  # characters; MySQL keeps no longer text


@dataclass(frozen=True, kw_only=True, slots=True)
class AboutTable:
    """How far the energies of a table are from measured ones, and the seconds that the table took without this check."""

    check: TableCheck
    seconds: float

    @property
    def in_words(self) -> str:
        """Its size, duration and error."""
        return f"table of {self.check.entries:,} parts in {units.duration(self.seconds)}; {self.check.in_words}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tabled:
    """A table of rates, and what is known about it."""

    table: RateTable
    about: AboutTable


def tabulated(
    space: Space,
    rates: "InitialRates",
    convention: Convention,
    measure: Callable[[Architecture], Candidate],
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Tabled:
    """Measure the table of a space and, by `measure`, further networks that show its error.

    `on_done(done, total)` is called after each measurement. ValueError if the table would be too large.
    """
    start = time.monotonic()
    table = tabulate(rates, space, rates.seed, on_done)
    seconds = time.monotonic() - start
    generator = random.Random(rates.seed)
    scaling = {one.key for one in scaling_networks(space, rates.seed)}
    held_out: dict[str, Architecture] = {}
    spare: dict[str, Architecture] = {}
    for one in (space.draw(generator) for _ in range(TRIES * HELD_OUT)):
        (spare if one.key in scaling else held_out).setdefault(one.key, one)
        if len(held_out) == HELD_OUT:
            break
    measured = []
    for one in (held_out or spare).values():  # a tiny space may have no others
        measured.append(measure(one))
        on_done(len(measured), HELD_OUT)
    check = check_table(table, measured, convention)
    return Tabled(table=table, about=AboutTable(check=check, seconds=seconds))


def check_table(table: RateTable, measured: Sequence[Candidate], convention: Convention) -> TableCheck:
    """How far the table's energies are from measured ones, of networks that are not silent. RuntimeError if all are."""
    pairs = []
    for candidate in measured:
        if not candidate.silent:
            listed, layers = operations_and_populations(candidate.architecture, table.task)
            rates = mean_by_operation(table.rates(candidate.architecture))
            pairs.append((estimate_mj(listed, rates, convention, layers), candidate.energy_mj))
    if not pairs:
        raise RuntimeError(
            f"none of {units.counted(len(measured), 'random network')} fires on these images, so the error of the table is "
            "unknown; create the study on others"
        )
    ranks = rank(*zip(*pairs, strict=True))
    errors = sorted(abs(tabled / energy - 1) for tabled, energy in pairs)
    return TableCheck(
        entries=len(table.entries),
        samples=len(pairs),
        median=median(errors),
        p95=errors[math.ceil(0.95 * len(errors)) - 1],
        largest=errors[-1],
        kendall=None if ranks is None else ranks.kendall,
    )


def store_table(study: optuna.Study, space: Space, tabled: Tabled) -> None:
    """Keep a table with a study. It is complete once its last attribute is written."""
    rows = [tabled.table.entries[slot] for slot in dict.fromkeys(slots_in(space, tabled.table.task))]
    kinds = {names: place for place, names in enumerate(dict.fromkeys(map(tuple, rows)))}
    content = {"operations": list(kinds), "rates": [[kinds[tuple(row)], *row.values()] for row in rows]}
    text = base64.b85encode(zlib.compress(json.dumps(content).encode(), 9)).decode()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):  # out of the way of those who look at a study's attributes
        study._storage.set_study_system_attr(study._study_id, f"{ATTR}:{number}", piece)
    study.set_user_attr(ATTR, {"pieces": len(pieces), **asdict(tabled.about)})


def stored_table(study: optuna.Study, space: Space, task: Task) -> Tabled | None:
    """The table that a study keeps; None if it has none."""
    about = about_table(study)
    if about is None:
        return None
    attributes = study._storage.get_study_system_attrs(study._study_id)
    try:
        text = "".join(attributes[f"{ATTR}:{number}"] for number in range(study.user_attrs[ATTR]["pieces"]))
        content = json.loads(zlib.decompress(base64.b85decode(text)))
        slots = dict.fromkeys(slots_in(space, task))
        entries = {
            slot: dict(zip(content["operations"][kind], values, strict=True))
            for slot, (kind, *values) in zip(slots, content["rates"], strict=True)
        }
    except (KeyError, ValueError, zlib.error):
        create = units.command("study", "create", "NAME", "--rates", "table")
        raise ValueError(
            f"the table of rates of study {study.study_name} is damaged; {create} makes a study with a new one"
        ) from None
    return Tabled(table=RateTable(task=task, entries=entries), about=about)


def about_table(study: optuna.Study) -> AboutTable | None:
    """What is known about the table that a study keeps; None if it has none."""
    stored: dict[str, Any] | None = study.user_attrs.get(ATTR)
    return None if stored is None else AboutTable(check=TableCheck(**stored["check"]), seconds=stored["seconds"])


def store_measured(study: optuna.Study, candidate: Candidate) -> None:
    """Keep the measured candidate of a finished trial, whose own values cannot change."""
    key = f"{MEASURED_ATTR}{candidate.number}"
    study._storage.set_study_system_attr(study._study_id, key, candidate.to_dict())


def stored_measured(study: optuna.Study) -> dict[int, Candidate]:
    """The measured candidates of trials that a table judged, by their numbers."""
    stored = study._storage.get_study_system_attrs(study._study_id)
    numbers = {key: int(key.removeprefix(MEASURED_ATTR)) for key in stored if key.startswith(MEASURED_ATTR)}
    return {number: Candidate.from_dict(stored[key], number=number) for key, number in numbers.items()}


def with_measured(
    found: Sequence[Candidate], measured: Mapping[int, Candidate], bounds: Constraints
) -> tuple[list[Candidate], list[Candidate]]:
    """The candidates that a table judged, with members of their front as measured, and the members that wait for it.

    All members of a front are replaced at once, then those that enter it, and so on. So the last front does not depend on how
    its search was divided into runs. A measured one that is silent or over a bound is left out.
    """
    kept = {candidate.number: candidate for candidate in found}
    while True:
        members = [one for one in nondominated(kept.values()) if one.rates == TABLE]
        waiting = [one for one in members if one.number not in measured]
        for member in members:
            one = measured.get(member.number or 0, member)
            if one.silent or violation(bounds.of_energy(one.energy_mj)):
                del kept[member.number]
            else:
                kept[member.number] = one
        if waiting or not members:
            return list(kept.values()), waiting
