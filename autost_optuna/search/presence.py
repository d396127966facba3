"""Presence: which processes are at work on a study, and what becomes of the trials of those that died.

Optuna's heartbeat is for relational databases alone and costs a write a trial, so here a run says once, in an attribute of
the study, that it is there, whatever the storage, and takes that back when it ends. A run that is found dead leaves
trials that no one will finish. They are retired by the next run that starts or ends with no other beside it.
A program of one's own that runs trials of a study by `study.optimize` does so `with Presence(study)`, else a run may take its
trials for abandoned.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.units import counted

RETRY = f"{ATTRIBUTE}:retry_of"
BEAT_S = 60.0
SILENT_S = 3600.0
_KEY = f"{ATTRIBUTE}:run:"


class Presence:
    """That a run is at work on a study, said while in context: its processes, and every minute that it is still there.

    A run on this machine is alive while one of its processes is; one on another machine until it was silent for an hour,
    which no trial takes. To begin and to end, the trials of dead runs are retired where no other run is alive. A trial that
    began while none said that it was there, as one of a user's own program does, is left alone for an hour. One that
    `retires` nothing only says that it is there, as a training does, whose trials name their owner.
    """

    def __init__(
        self, study: optuna.Study, on_note: Callable[[str], None] = lambda text: None, *, retires: bool = True
    ) -> None:
        self._study = study
        self._on_note = on_note
        self._retires = retires
        self._key = _KEY + uuid.uuid4().hex
        self._processes = [os.getpid()]
        self._began = time.time()
        self._seen = 0.0
        self._untold = False

    def __enter__(self) -> "Presence":
        self._say()
        self._retire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(Exception):  # what went wrong first is what is told
            # At work no more before it looks: of runs that end at once, the last to look finds none alive.
            if self._untold:
                self._processes = []
                self._say()
            else:
                self._take_back()
            if self._retire() and self._untold:
                self._take_back()  # nor need others look

    def add(self, processes: Iterable[int]) -> None:
        """More processes of this run, before they start a trial."""
        self._processes += processes
        self._say()

    def leave_trial(self) -> None:
        """A process of this run died and may have begun a trial that it had not told of: which one, no one knows.

        So the run ends as a dead one: its running trials are retired at its end, or by whoever ends last beside it.
        """
        self._untold = True

    def beat(self) -> None:
        """Say again that the run is there, if a minute has passed."""
        if time.monotonic() - self._seen >= BEAT_S:
            self._say()

    def owner(self) -> dict[str, Any]:
        """What a trial says of the process that is at work on it: this one, of this run."""
        self.beat()  # said before the trial, so that whoever sees the trial finds the run
        return {"run": self._key, "machine": _machine(), "processes": [[os.getpid(), _started(os.getpid())]]}

    def _say(self) -> None:
        self._seen = time.monotonic()
        record: dict[str, Any] = {
            "machine": _machine(),
            "processes": [[process, _started(process)] for process in self._processes],
            "began": self._began,
            "seen": time.time(),
        }
        self._study._storage.set_study_system_attr(self._study._study_id, self._key, record)

    def _take_back(self) -> None:
        self._study._storage.set_study_system_attr(self._study._study_id, self._key, None)

    def _retire(self) -> bool:
        """Whether no other run is alive, so that the trials of dead ones are retired."""
        if not self._retires:
            return False
        # In this order: whoever started one of these trials had said before that it was there, so the second look sees it.
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        runs = self._study._storage.get_study_system_attrs(self._study._study_id)
        # Its own among them once it has left a trial: no process of it is there then.
        others = [
            run for key, run in runs.items() if key.startswith(_KEY) and run and (self._untold or key != self._key)
        ]
        if any(alive(run) for run in others):
            return False
        left = [trial for trial in running if abandoned(trial, others)]
        if left:
            count = retire(self._study, left)
            self._on_note(
                f"note: {counted(count, 'unfinished trial')} that no process works on any more: set to failed"
            )
        return True


def alive(run: dict[str, Any]) -> bool:
    """Whether a run may still be at work, from what it said of itself."""
    if run["machine"] == _machine():
        return any(_started(process) == started for process, started in run["processes"])
    return time.time() - float(run["seen"]) < SILENT_S


def owner_alive(owner: dict[str, Any], runs: dict[str, Any]) -> bool:
    """Whether the `owner` of a trial may still be at work, where `runs` are the attributes of its study.

    Of a process on this machine this is seen at once; one on another machine is at work until its run ends or is silent.
    """
    if owner["machine"] == _machine():
        return alive(owner)
    run = runs.get(owner["run"])
    return run is not None and alive(run)


def abandoned(trial: FrozenTrial, dead: Iterable[dict[str, Any]]) -> bool:
    """Whether a running trial is of one of the `dead` runs, or older than any trial gets."""
    start = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - start > SILENT_S or any(run["began"] <= start <= run["seen"] + 2 * BEAT_S for run in dead)


def retire(study: optuna.Study, trials: Iterable[FrozenTrial]) -> int:
    """Set trials that nobody works on any more to FAIL, and queue their points again; returns how many.

    Queued once: a trial that kills its process, by its memory for one, would otherwise do so for ever. Queued before it
    fails, so that the sampler gives the point to no one else between.
    """
    sampler, count = study.sampler, 0
    for trial in trials:
        point = sampler.point_of(study, trial) if isinstance(sampler, DeclaredNSGAIISampler) else trial.params
        queued = None
        if point and RETRY not in trial.user_attrs and not held(study, trial):
            retry = create_trial(
                state=TrialState.WAITING, system_attrs={"fixed_params": point}, user_attrs={RETRY: trial.number}
            )
            queued = study._storage.create_new_trial(study._study_id, retry)
        try:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            count += 1
        except UpdateFinishedTrialError:  # another run was faster
            if queued is not None:
                with contextlib.suppress(UpdateFinishedTrialError):
                    study._storage.set_trial_state_values(queued, TrialState.FAIL)
    return count


def held(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether another trial sees to the point of this one: not the dead one that it repeats, if it is queued again.

    So it is where a process died between two steps: before it drew again what another had drawn too, or with a trial queued
    again and not yet failed, which the next then queued once more.
    """
    if not isinstance(study.sampler, DeclaredNSGAIISampler):
        return False
    return bool(study.sampler.holders(study, trial) - {trial.user_attrs.get(RETRY)})


def _machine() -> str:
    """Where the numbers of processes mean the same: this boot and this namespace; never twice the same without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex


def _started(process: int) -> int:
    """When a process started, in ticks since boot, so that a number used again is told apart; -1 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])
