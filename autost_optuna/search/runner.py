"""Run trials of a study, here or in several processes, up to a number or until it has converged; run again to resume."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from optuna.trial import TrialState

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.convergence import Convergence, StopRule
from autost_optuna.front.front import nondominated
from autost_optuna.proxies.goals import check_plane
from autost_optuna.search.objective import Objective
from autost_optuna.search.presence import Presence, retire
from autost_optuna.search.restore import make_objective
from autost_optuna.search.sampler import SpaceExhausted
from autost_optuna.search.search import Search
from autost_optuna.search.workers import Pool, WorkerMessage, run_trial
from autost_optuna.units import StrPath, command, counted

MOST_WORKERS = 256

Ending = Literal["trials", "timeout", "stopped", "converged", "fruitless", "exhausted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The state of a run after a trial: trials done, trials requested (None: no bound), members of the front."""

    done: int
    trials: int | None
    front_size: int
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended: trials done, why it stopped, and the evidence if it had a stop rule."""

    done: int
    ending: Ending
    duration_s: float
    evidence: Convergence | None = None


def run(
    search: Search,
    *,
    trials: int | None,
    until: StopRule | None = None,
    workers: int = 1,
    timeout: float | None = None,
    data_root: StrPath | None = None,
    device: str = "cpu",
    on_trial: Callable[[Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run `trials` more trials, or fewer if `until` is met, `timeout` seconds have passed or `stopped()`.

    With `workers` above 1, as many processes share the trials, with one thread of torch each; their trials add up exactly.
    `data_root` replaces the folder that the study was created with. ValueError if it holds other images. RuntimeError if a
    worker fails or all have died.
    """
    if len(search.study.directions) > len(search.settings.objectives):
        name = search.study.study_name
        raise ValueError(
            f"study {name} has objectives of your own beside {' and '.join(search.settings.objectives)}, which only your "
            f"program can compute; run that, or go on without them in a new study: {command('study', 'fork', name, f'{name}2')}"
        )
    if trials is None and until is None:
        raise ValueError("neither a number of trials nor a stop rule; give trials, such as 200, or until=StopRule()")
    if until is not None:
        check_plane(search.settings.objectives, "the hypervolume that a stop rule watches", "give --trials N alone")
    if trials is not None and trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout {timeout} is not positive; give seconds, such as 60")
    if not 1 <= workers <= MOST_WORKERS:
        raise ValueError(f"workers {workers} is out of range; use 1 to {MOST_WORKERS}, such as one per processor")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > processors:
        on_note(f"note: {workers} workers on {counted(processors, 'processor')}; more than one on each rarely pays")
    objective = make_objective(search.settings, data_root, device)  # checked here, whichever process evaluates
    tally = _Tally(search, trials, until, timeout, on_trial, stopped)
    if tally.ending() is None:
        with Presence(search.study, on_note) as presence:
            if workers == 1:
                _work_alone(search, objective, tally, presence)
            else:
                with Pool(search, workers, data_root=data_root, device=device) as pool:
                    presence.add(worker.process.pid or 0 for worker in pool.workers)
                    _lead(pool, search, tally, presence, on_note)
    return tally.outcome()


def _work_alone(search: Search, objective: Objective, tally: "_Tally", presence: Presence) -> None:
    objective.remember(search.candidates())
    while tally.ending() is None:
        try:
            tally.take(run_trial(search.study, objective))
        except SpaceExhausted:
            tally.exhausted = True
        presence.beat()


def _lead(pool: Pool, search: Search, tally: "_Tally", presence: Presence, on_note: Callable[[str], None]) -> None:
    """Hand out tickets until the run ends. Then all tickets have come back, one for each trial."""
    failure = ""
    while True:
        ended = bool(failure) or tally.ending() is not None
        if ended and not pool.busy:
            break
        if not ended:
            pool.hand_out(tally.left(pool.busy))
        for message in pool.receive(timeout=0.5):
            if message.kind == "failed":
                failure = failure or message.text
            elif message.kind == "died":
                _bury(message, search, tally, presence)
                if pool.workers and tally.ending() is None:
                    going = "1 worker goes" if len(pool.workers) == 1 else f"{len(pool.workers)} workers go"
                    on_note(f"warning: a worker died ({message.text}); {going} on and will do its share")
                elif not pool.workers and tally.ending() is None:
                    failure = failure or (
                        f"all workers died (the last: {message.text}) after {counted(tally.done, 'trial')}; run again to "
                        "resume, with fewer --workers if memory was short"
                    )
            else:
                tally.take(message)
        presence.beat()
    if failure:
        raise RuntimeError(failure)


def _bury(message: WorkerMessage, search: Search, tally: "_Tally", presence: Presence) -> None:
    """Handle the trial of a worker that died: it may have been stored before the worker could report it."""
    if message.number is None:
        presence.leave_trial()
    else:
        trial = search.study.get_trials(deepcopy=False)[message.number]
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            found = next((c for c in search.candidates() if c.number == trial.number), None)
            tally.take(WorkerMessage(kind="finished", number=trial.number, candidate=found))
        elif trial.state == TrialState.RUNNING:
            retire(search.study, [trial])
            tally.exhausted = False  # it is queued again


class _Tally:
    """What a run has done so far, and whether it is enough."""

    def __init__(
        self,
        search: Search,
        trials: int | None,
        until: StopRule | None,
        timeout: float | None,
        on_trial: Callable[[Progress], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._search, self._trials, self._until, self._timeout = search, trials, until, timeout
        self._on_trial, self._stopped = on_trial, stopped
        self._members: list[Candidate] = nondominated(search.candidates())
        self._start = time.monotonic()
        self.done = 0
        self.exhausted = False
        self._evidence: Convergence | None = None
        self._read_at = 0
        self._read_course()

    def take(self, message: WorkerMessage) -> None:
        """Record the result of a ticket."""
        self.exhausted = self.exhausted or message.kind == "exhausted"
        if message.kind != "finished":
            return
        self.done += 1
        if message.candidate is not None:
            self._members = nondominated([*self._members, message.candidate])
        if self._until is not None:
            self._course.add(message.candidate)
            self._evidence = self._course.evidence(self._until)
            # The study decides: it may have trials of other runs, and it orders them by number, not by when they ended.
            # Other runs make numbers grow faster than this run's trials, so the study is read more often.
            number = message.number or 0
            if self._evidence.converged or number >= self._read_at + self._until.patience:
                self._read_at = number
                self._read_course()
        front_size, duration = len(self._members), time.monotonic() - self._start
        self._on_trial(Progress(done=self.done, trials=self._trials, front_size=front_size, duration_s=duration))

    def left(self, out: int) -> int:
        """The number of tickets left to hand out while `out` are out."""
        return MOST_WORKERS if self._trials is None else self._trials - self.done - out

    def ending(self) -> Ending | None:
        """Why the run ends now, or None if it continues."""
        if self._evidence is not None and self._evidence.converged:
            return "converged"
        if self._evidence is not None and self._evidence.fruitless:
            return "fruitless"
        if self.exhausted:
            return "exhausted"
        if self._trials is not None and self.done >= self._trials:
            return "trials"
        if self._stopped():
            return "stopped"
        if self._timeout is not None and time.monotonic() - self._start >= self._timeout:
            return "timeout"
        return None

    def outcome(self) -> Outcome:
        """The outcome of a run that has ended."""
        duration = time.monotonic() - self._start
        ending = self.ending() or "trials"
        if ending != "converged":
            self._read_course()
        return Outcome(done=self.done, ending=ending, duration_s=duration, evidence=self._evidence)

    def _read_course(self) -> None:
        if self._until is not None:
            self._course = self._search.course()
            self._evidence = self._course.evidence(self._until)
