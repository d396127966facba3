"""Rescue a damaged journal: write all whole lines to a new file in which no trial gets the lines of another."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.search.lost import Gap, Head, find_lost, head_of
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.search.study import TRAINED
from autost_optuna.storage.artifacts import artifacts_of, copy, folder_of
from autost_optuna.storage.journal import STUDY_OPERATIONS, TOGETHER
from autost_optuna.storage.storage import open_storage

RESCUED = f"{ATTRIBUTE}:rescued"  # a user attribute of the replacement of a lost trial
_WHAT = {
    JournalOperation.SET_STUDY_USER_ATTR: "a user attribute",
    JournalOperation.SET_STUDY_SYSTEM_ATTR: "a system attribute",
    JournalOperation.SET_TRIAL_PARAM: "a parameter",
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE: "an intermediate value",
    JournalOperation.SET_TRIAL_USER_ATTR: "a user attribute",
    JournalOperation.SET_TRIAL_SYSTEM_ATTR: "a system attribute",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """The number of lines kept from a damaged journal, and a sentence for each loss."""

    kept: int
    losses: tuple[str, ...]


def rescue(path: Path, output: Path) -> Rescued:
    """Write the whole lines of the damaged journal `path` to the new file `output`, and copy its artifacts.

    `path` is not changed. A trial whose creation is lost keeps its other lines and starts at the time before it; if it has
    none, a failed trial takes its place, because numbers have no gaps. ValueError if `path` is not a journal or is whole, if
    `output` exists, or if lines contradict each other, so that they cannot be assigned to trials.
    """
    if not path.is_file():
        raise ValueError(f"no journal at {path}; give the damaged file")
    gaps = find_lost(path)
    if not any(gap.lines for gap in gaps):
        raise ValueError(f"{path} has no whole line of an Optuna journal; nothing in it can be rescued")
    if not any(gap.damages for gap in gaps):
        raise ValueError(f"{path} is whole; there is nothing to rescue")
    files, to = folder_of(str(path)), folder_of(str(output))
    try:
        file = output.open("xb")
    except FileExistsError:
        raise ValueError(f"{output} exists; give a new file with -o") from None
    try:
        with file:
            file.writelines(text + b"\n" for text in _texts(gaps))
        storage = open_storage(str(output))
    except BaseException:
        output.unlink()
        raise
    for study in storage.get_all_studies():
        copy(artifacts_of(optuna.load_study(study_name=study.study_name, storage=storage)), files, to)
    return Rescued(kept=sum(len(gap.lines) for gap in gaps), losses=tuple(_losses(gaps, storage)))


def _texts(gaps: Sequence[Gap]) -> Iterator[bytes]:
    """The lines of the new file."""
    said = {line.log["trial_id"] for gap in gaps for line in gap.lines if "trial_id" in line.log}
    times = (line.log.get("datetime_start") for gap in gaps for line in gap.lines)
    begun = next((time for time in times if time), datetime.now(UTC).isoformat(timespec="microseconds"))
    for gap in gaps:
        for name, directions in gap.studies.values():
            yield _text(JournalOperation.CREATE_STUDY, study_name=name, directions=directions)
        for trial, (study, _) in gap.trials.items():
            yield _text(JournalOperation.CREATE_TRIAL, **_replacement(gap, study, gap.time or begun, trial in said))
        yield from (line.text for line in gap.lines)


def _text(operation: int, **values: Any) -> bytes:
    log = {"op_code": operation, "worker_id": "rescue", **values}
    return json.dumps(log, separators=(",", ":")).encode()


def _replacement(gap: Gap, study: int, time: str, said: bool) -> dict[str, Any]:
    """The line that creates a trial in place of a lost one: running, as it was, if it has other lines, else failed."""
    ended = {} if said else {"datetime_complete": time}
    return {
        "study_id": study,
        "datetime_start": time,
        **ended,
        "state": int(TrialState.RUNNING if said else TrialState.FAIL),
        "value": None,
        "values": None,
        "distributions": {},
        "params": {},
        "user_attrs": {RESCUED: f"its creation is lost: {gap.damages[0]}"},
        "system_attrs": {},
        "intermediate_values": {},
    }


def _losses(gaps: Sequence[Gap], storage: BaseStorage) -> Iterator[str]:
    """The losses in words; trials have the numbers of their studies."""
    studies = {study._study_id: f"study {study.study_name}" for study in storage.get_all_studies()}
    trials = {
        trial._trial_id: (f"trial {trial.number} of {name}", trial)
        for study, name in studies.items()
        for trial in storage.get_all_trials(study, deepcopy=False)
    }

    def named(trial: int) -> str:
        return trials[trial][0] if trial in trials else "a trial of a deleted study"

    for gap in gaps:
        likely = " or ".join(map(named, gap.unfinished[:4]))
        for damage in gap.damages:
            head = head_of(damage)
            if head.operation is not None:
                yield f"{damage}; lost is {_what(head, studies, named, likely or 'a trial')}"
            elif not damage.fault.endswith(TOGETHER):
                yield f"{damage}; what it said is not known, and may be of {likely or 'a study'}"
            else:
                yield f"{damage}; nothing is lost"
        for name, directions in gap.studies.values():
            way = ", ".join("maximize" if direction == 2 else "minimize" for direction in directions)
            yield f"study {name} was created there; check its name, and its directions, {way}"
        for trial, (_, certain) in gap.trials.items():
            said = "its start is that of the time before it"
            if trial in trials and _is_replacement(trials[trial][1]):
                said = "nothing else is left of it: it is a failed one"
            guess = "" if certain else "; its study is a guess, so numbers in others may be one too low"
            if gap.unsure is not None:
                guess += (
                    f"; that it was not at line {gap.unsure.number:,} is a guess, so trials between may be mixed up"
                )
            yield f"{named(trial)} was created there; {said}{guess}"


def _is_replacement(trial: FrozenTrial) -> bool:
    """Whether a trial is a replacement that shares only its number with the lost one."""
    return RESCUED in trial.user_attrs and trial.state == TrialState.FAIL and not trial.params


def _what(head: Head, studies: Mapping[int, str], named: Callable[[int], str], likely: str) -> str:
    """The content of a damaged line as far as it is legible, about the trials `likely` if their number is not."""
    operation, name = JournalOperation(head.operation or 0), head.name
    if operation == JournalOperation.CREATE_STUDY:
        return f"the creation of {f'study {name}' if name else 'a study'}"
    if operation in STUDY_OPERATIONS:
        of = "a study" if head.of is None else studies.get(head.of, "a deleted study")
    else:
        of = likely if head.of is None else named(head.of)
    if operation == JournalOperation.DELETE_STUDY:
        return f"the deletion of {of}, which is there again"
    if operation == JournalOperation.CREATE_TRIAL:
        return f"the creation of a trial of {of}"
    if operation == JournalOperation.SET_TRIAL_STATE_VALUES:
        return f"the state of {of}, and its values if it was complete"
    opened = (
        ""
        if name not in (ATTRIBUTE, TRAINED)
        else ", without which commands cannot read it; `study adopt` writes a search's anew"
    )
    return f"{_WHAT[operation]}{f', {name},' if name else ''} of {of}{opened}"
