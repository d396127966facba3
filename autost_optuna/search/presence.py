"""Presence: which processes work on a study, and what happens to the trials of processes that died.

Optuna's heartbeat works only with relational databases and costs one write per trial. Here a run announces itself once in an
attribute of the study, in any storage, and removes that when it ends. A dead run leaves trials that no one will finish. The
next run that starts or ends while no other is alive retires them. Your own program should run trials of a study
`with Presence(study)`; otherwise a run may treat its trials as abandoned.
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
    """Announces within the context that a run works on a study: its processes and, every minute, that it is still alive.

    A run on this machine is alive while one of its processes is; a run on another machine until it has been silent for an
    hour, longer than any trial. At its start and end, a run retires the trials of dead runs if no other run is alive. A
    trial that began while no run was announced, such as one of the user's own program, is left alone for an hour. With
    `retires` off, it only announces itself, as a training does, because its trials name their owner.
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
        with contextlib.suppress(Exception):  # the first error is the one to report
            # Withdraw before looking: of runs that end at once, the last to look finds none alive.
            if self._untold:
                self._processes = []
                self._say()
            else:
                self._take_back()
            if self._retire() and self._untold:
                self._take_back()  # others need not look either

    def add(self, processes: Iterable[int]) -> None:
        """Announce more processes of this run, before they start a trial."""
        self._processes += processes
        self._say()

    def leave_trial(self) -> None:
        """Note that a process of this run died and may have begun a trial without reporting it, so that the trial is unknown.

        The run then ends like a dead one: its running trials are retired at its end, or by the last run to end beside it.
        """
        self._untold = True

    def beat(self) -> None:
        """Announce again that the run is alive, if a minute has passed."""
        if time.monotonic() - self._seen >= BEAT_S:
            self._say()

    def owner(self) -> dict[str, Any]:
        """The owner that a trial stores: this process, of this run."""
        self.beat()  # announced before the trial, so that any process that sees the trial finds the run
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
        """Retire the trials of dead runs if no other run is alive; returns whether that was so."""
        if not self._retires:
            return False
        # In this order: a run announces itself before it starts a trial, so the second look sees it.
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        runs = self._study._storage.get_study_system_attrs(self._study._study_id)
        # Includes this run once it has left a trial: it has no processes then.
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
    """Whether a run may still be at work, judged by its announcement."""
    if run["machine"] == _machine():
        return any(_started(process) == started for process, started in run["processes"])
    return time.time() - float(run["seen"]) < SILENT_S


def owner_alive(owner: dict[str, Any], runs: dict[str, Any]) -> bool:
    """Whether the `owner` of a trial may still be at work; `runs` are the attributes of its study.

    A process on this machine is checked directly; one on another machine counts until its run ends or falls silent.
    """
    if owner["machine"] == _machine():
        return alive(owner)
    run = runs.get(owner["run"])
    return run is not None and alive(run)


def abandoned(trial: FrozenTrial, dead: Iterable[dict[str, Any]]) -> bool:
    """Whether a running trial belongs to one of the `dead` runs, or is older than any trial takes."""
    start = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - start > SILENT_S or any(run["began"] <= start <= run["seen"] + 2 * BEAT_S for run in dead)


def retire(study: optuna.Study, trials: Iterable[FrozenTrial]) -> int:
    """Set abandoned trials to FAIL, and queue their points again; returns their number.

    A point is queued only once: a trial that kills its process, for example through its memory, would otherwise do so for
    ever. It is queued before its trial fails, so that the sampler does not give the point to another trial in between.
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
    """Whether another trial handles the point of this one; the dead trial that a queued one repeats does not count.

    This happens if a process died between two steps: before it replaced a point that another had drawn too, or after it
    queued a trial again but before it set it to failed, so that the next process queued it once more.
    """
    if not isinstance(study.sampler, DeclaredNSGAIISampler):
        return False
    return bool(study.sampler.holders(study, trial) - {trial.user_attrs.get(RETRY)})


def _machine() -> str:
    """Identifies where process numbers have the same meaning: this boot and namespace; unique each time without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex


def _started(process: int) -> int:
    """When a process started, in ticks since boot, to recognise a reused number; -1 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])
