"""What the damaged places of a journal lost: how many studies and trials were created there, and which.

A journal numbers studies and trials in the order of their creation, and its other lines refer to these numbers. So if a
line that created one is lost, all later ones would get the lines of others. The lines that follow show how many were lost:
whatever a line refers to was created before it; after creating a trial, a process first works on that trial; and a damaged
line may still have its beginning.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.storages.journal._storage import JournalOperation
from optuna.study import StudyDirection
from optuna.trial import TrialState

from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES, GOALS
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.search.study import TRAINED, TRAINED_ENDING
from autost_optuna.storage.journal import STUDY_OPERATIONS, TRIAL_OPERATIONS, Damage, Line, read_lines

OPERATIONS = frozenset(JournalOperation) - {JournalOperation.DISCARD_TRIALS}
SET_PARAM, SET_SYSTEM_ATTR = JournalOperation.SET_TRIAL_PARAM, JournalOperation.SET_TRIAL_SYSTEM_ATTR
MOST = 10  # the most trials that may be lost in one place
METRICS = "study:metric_names"
_HEAD = re.compile(rb'\{"op_code":(\d+),(?:"worker_id":"[^"]*",(?:"(?:study_id|trial_id)":(\d+)[,}])?)?')
_TEXT = rb'("[ !#-\[\]-~]*")'  # without escapes: damaged text may hold any bytes
_NAME = re.compile(rb'"(?:study_name|param_name)":' + _TEXT + rb'|"(?:user|system)_attr":\{' + _TEXT + rb":")
_DIRECTIONS = re.compile(rb'"directions":(\[[12](?:,[12])*\])')


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The beginning of a damaged line: its operation, its study or trial, and a name; None for illegible parts."""

    operation: int | None = None
    of: int | None = None
    name: str | None = None
    directions: list[int] | None = None


@dataclass(kw_only=True, slots=True)
class Gap:
    """A damaged place, or the start of the file, with the whole lines from there to the next damaged place.

    `created` holds the positions in `lines` of those that create a trial. `studies` and `trials` were created in the damaged
    place, by identifier: studies with name and directions, trials with their study and whether that is certain. `unsure` is
    an earlier place where these trials may have been created instead. `alive` and `unfinished` are the studies and trials
    that existed there, and `time` is the last time in the lines before it.
    """

    damages: list[Damage] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    created: list[int] = field(default_factory=list)
    studies: dict[int, tuple[str, list[int]]] = field(default_factory=dict)
    trials: dict[int, tuple[int, bool]] = field(default_factory=dict)
    alive: list[int] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)
    unsure: Damage | None = None
    time: str = ""

    @property
    def heads(self) -> list[Head]:
        """The beginnings of its damaged lines."""
        return [head_of(damage) for damage in self.damages]


def find_lost(path: Path) -> list[Gap]:
    """The damaged places of a journal; the first is its start. ValueError if lines contradict each other."""
    gaps = [Gap()]
    for item in read_lines(path):
        if isinstance(item, Line):
            gaps[-1].lines.append(item)
        elif gaps[-1].lines:
            gaps.append(Gap(damages=[item]))
        else:
            gaps[-1].damages.append(item)
    lost = Counter[int]()
    while (missing := _walk_studies(gaps, lost)) is not None:
        lost[missing] += 1
    _walk_trials(gaps, _References(gaps))
    return gaps


def head_of(damage: Damage) -> Head:
    """The legible beginning of a damaged line."""
    head, name, directions = (form.search(damage.text) for form in (_HEAD, _NAME, _DIRECTIONS))
    if head is None or head.start() or int(head[1]) not in OPERATIONS:
        return Head()
    return Head(
        operation=int(head[1]),
        of=None if head[2] is None else int(head[2]),
        name=None if name is None else json.loads(name[1] or name[2]),
        directions=None if directions is None else json.loads(directions[1]),
    )


def _walk_studies(gaps: Sequence[Gap], lost: Counter[int]) -> int | None:
    """Follow the studies, with `lost` lost in each gap. Returns the gap that must have lost one more, or None."""
    names: dict[int, str] = {}
    after, damaged = 0, None
    for place, gap in enumerate(gaps):
        damaged = place if gap.damages else damaged
        gap.studies, gap.created = {}, []
        for _ in range(lost[place]):
            gap.studies[after] = _study(gaps, gap, after, names)
            names[after] = gap.studies[after][0]
            after += 1
        gap.alive = list(names)
        for at, line in enumerate(gap.lines):
            operation = line.log["op_code"]
            if operation == JournalOperation.CREATE_STUDY:
                if line.log["study_name"] not in names.values():  # otherwise it was refused
                    names[after] = line.log["study_name"]
                    after += 1
            elif operation in STUDY_OPERATIONS:
                if line.log["study_id"] >= after and damaged is not None:
                    return damaged
                if operation == JournalOperation.CREATE_TRIAL and line.log["study_id"] in names:
                    gap.created.append(at)
                if operation == JournalOperation.DELETE_STUDY:
                    names.pop(line.log["study_id"], None)
    return None


def _study(gaps: Sequence[Gap], gap: Gap, number: int, names: dict[int, str]) -> tuple[str, list[int]]:
    """Name and directions of a study whose creation is lost: from its legible part, or from other lines."""
    legible = [head for head in gap.heads if head.operation == JournalOperation.CREATE_STUDY and head.name]
    head = next((head for head in legible if head.name not in names.values()), Head())
    logs = [line.log for one in gaps for line in one.lines if line.log.get("study_id") == number]
    attributes = {key: value for log in logs for key, value in log.get("user_attr", {}).items()}
    name, directions = head.name, head.directions
    if TRAINED in attributes:
        name, directions = name or attributes[TRAINED]["search"] + TRAINED_ENDING, directions or [2, 1]
    elif ATTRIBUTE in attributes:
        goals = attributes[ATTRIBUTE].get("objectives", DEFAULT_OBJECTIVES)
        directions = directions or [int(StudyDirection[GOALS[goal].direction.upper()]) for goal in goals]
        name = name or _search_without_name(gaps)
    labels = next((log["system_attr"][METRICS] for log in logs if METRICS in log.get("system_attr", {})), [None])
    free = name is not None and name not in names.values()
    return str(name) if free else f"rescued-{number}", directions or [int(StudyDirection.MINIMIZE)] * len(labels)


def _search_without_name(gaps: Sequence[Gap]) -> str | None:
    """The only search that trained networks refer to but no line creates."""
    logs = [line.log for gap in gaps for line in gap.lines]
    said = {log["user_attr"][TRAINED]["search"] for log in logs if TRAINED in log.get("user_attr", {})}
    said -= {log["study_name"] for log in logs if log["op_code"] == JournalOperation.CREATE_STUDY}
    return said.pop() if len(said) == 1 else None


class _References:
    """The trials that a journal's whole lines refer to: the first reference, and the workers, each a thread of a process."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        self.lines = [line for gap in gaps for line in gap.lines]
        self.trials = [line.log["trial_id"] if line.log["op_code"] in TRIAL_OPERATIONS else None for line in self.lines]
        self.first: dict[int, int] = {}
        self.workers: dict[int, set[str]] = {}
        for place, (line, trial) in enumerate(zip(self.lines, self.trials, strict=True)):
            if trial is not None:
                self.first.setdefault(trial, place)
                self.workers.setdefault(trial, set()).add(line.log["worker_id"])
        self.told = self._told()
        self.alone = sum(len(workers) == 1 for workers in self.workers.values()) > len(self.workers) / 2

    def _told(self) -> dict[int, int]:
        """The trial that each creating line, by position, must have created, because its worker continues with that trial only.

        A server uses several threads for each trial, so its lines do not show this.
        """
        told, following = {}, {}
        for place in reversed(range(len(self.lines))):
            log, trial = self.lines[place].log, self.trials[place]
            worker = log["worker_id"]
            if trial is not None:
                following[worker] = trial
            elif log["op_code"] == JournalOperation.CREATE_TRIAL:
                found = following.pop(worker, None)
                alone = found is not None and self.first[found] > place and self.workers[found] == {worker}
                if found is not None and alone and log.get("state", TrialState.RUNNING) == TrialState.RUNNING:
                    told[place] = found
        return told

    def fits(self, place: int, trial: int) -> bool:
        """Whether the line that creates a running trial may have created this one: its worker is the one that continues it.

        Other workers may end it if that process died.
        """
        log, first = self.lines[place].log, self.first.get(trial)
        if first is None or not self.alone or log.get("state", TrialState.RUNNING) != TrialState.RUNNING:
            return True
        began = self.lines[first].log
        return began["op_code"] not in (SET_PARAM, SET_SYSTEM_ATTR) or began["worker_id"] == log["worker_id"]

    def study_of(self, trial: int) -> int | None:
        """The study of a trial whose creation is lost: the one of all other trials of its workers, or of their processes."""
        for parts in (0, 1):
            ours = {worker.rsplit("-", parts)[0] for worker in self.workers.get(trial, ())}
            found = {
                line.log["study_id"]
                for line in self.lines
                if line.log["op_code"] == JournalOperation.CREATE_TRIAL
                and line.log["worker_id"].rsplit("-", parts)[0] in ours
            }
            if len(found) == 1:
                return int(found.pop())
        return None


def _walk_trials(gaps: Sequence[Gap], references: _References) -> None:
    """Follow the trials, and find those that were created in each gap."""
    after, place, time = 0, 0, ""
    unfinished: set[int] = set()
    doubt: Damage | None = None  # from there on, nothing identifies the trials that lines create
    for gap in gaps:
        gap.time, gap.unfinished = time, sorted(unfinished)
        if gap.damages:
            lost = _count_lost(gap, references, place, after)
            gap.trials = _owners(gap, references, range(after, after + lost))
            after += lost
            gap.unsure = doubt if lost else None
            told = any(place + at in references.told for at in gap.created)
            doubt = None if told else doubt or (gap.damages[0] if gap.created else None)
            unfinished |= gap.trials.keys() & references.first.keys()
        for at, line in enumerate(gap.lines):
            log = line.log
            if at in gap.created:
                if (before := references.first.get(after, place + at)) < place + at:
                    raise ValueError(
                        f"line {references.lines[before].number:,} is of a trial that line {line.number:,} creates, so it "
                        "cannot be told which lines are of which trial; restore a backup, or keep the lines before the "
                        "first damaged one"
                    )
                if not TrialState(log.get("state", TrialState.RUNNING)).is_finished():
                    unfinished.add(after)
                after += 1
            elif log["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES and TrialState(log["state"]).is_finished():
                unfinished.discard(log["trial_id"])
            time = log.get("datetime_complete") or log.get("datetime_start") or time
        place += len(gap.lines)


def _count_lost(gap: Gap, references: _References, place: int, after: int) -> int:
    """The number of trials created in a gap whose lines begin at `place`, with `after` trials before it.

    ValueError if that changes before the next gap: then lines are missing between whole ones too.
    """
    told, needed, created = set(), 0, 0
    for at in range(len(gap.lines)):
        trial = references.trials[place + at]
        if at in gap.created:
            if place + at in references.told:
                told.add(references.told[place + at] - after - created)
            created += 1
        elif trial is not None:
            needed = max(needed, trial + 1 - after - created)
    told = {lost for lost in told if lost >= 0}
    if not told:
        least = max(needed, sum(head.operation == JournalOperation.CREATE_TRIAL for head in gap.heads))
        several = range(least, least + MOST)
        fits = (
            lost
            for lost in several
            if all(references.fits(place + at, after + lost + more) for more, at in enumerate(gap.created))
        )
        told = {next(fits, least)}
    if len(told) > 1 or needed > max(told):
        raise ValueError(
            f"after line {gap.damages[-1].number:,} whole lines are missing too, so it cannot be told which lines are of which "
            "trial; restore a backup, or keep the lines before the first damaged one"
        )
    return told.pop()


def _owners(gap: Gap, references: _References, trials: range) -> dict[int, tuple[int, bool]]:
    """The studies of lost trials, and whether each is certain."""
    created = [line for line in references.lines if line.log["op_code"] == JournalOperation.CREATE_TRIAL]
    near = [line.log["study_id"] for line in created if line.log["study_id"] in gap.alive]
    legible = [head.of for head in gap.heads if head.operation == JournalOperation.CREATE_TRIAL]
    owners = {}
    for at, trial in enumerate(trials):
        found = legible[at] if len(legible) == len(trials) else None
        found = references.study_of(trial) if found is None else found
        if found not in gap.alive:
            found = None
        likely = (near or gap.alive or [0])[-1]
        owners[trial] = (likely if found is None else found, found is not None or len(gap.alive) == 1)
    return owners
