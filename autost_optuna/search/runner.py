"""Run trials of a study, here or in several processes, up to a number or until it has converged; run again to resume."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from optuna.trial import TrialState

from autost_optuna.front.candidate import TABLE, Candidate
from autost_optuna.front.convergence import Convergence, StopRule
from autost_optuna.front.front import joined, nondominated
from autost_optuna.moved import regrouped
from autost_optuna.proxies.goals import check_plane
from autost_optuna.search.closing import Closing, measure_front
from autost_optuna.search.objective import Objective
from autost_optuna.search.pool import Done, Ended, Pool, Worker, one_thread
from autost_optuna.search.presence import Presence, retire
from autost_optuna.search.restore import make_objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.search.search import Search
from autost_optuna.search.tables import stored_table
from autost_optuna.search.workers import TICKET, WorkerMessage, make_pool, run_trial
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
    """How a run ended: trials done, why it stopped, and the evidence if it had a stop rule.

    `closing` is the measurement of the front's members, which follows a search by a table of rates.
    """

    done: int
    ending: Ending
    duration_s: float
    evidence: Convergence | None = None
    closing: Closing | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a run uses: processes, the folder of the images if it is not the study's, and the device that measures."""

    workers: int = 1
    data_root: StrPath | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCallbacks:
    """Who hears of a run and may stop it: `on_trial` after each trial, `on_note` of what a user should know.

    `on_measured(done, total)` is called as members of the front are measured, after a search by a table of rates.
    """

    on_trial: Callable[[Progress], None] = lambda progress: None
    on_note: Callable[[str], None] = lambda text: None
    on_measured: Callable[[int, int], None] = lambda done, total: None
    stopped: Callable[[], bool] = lambda: False


@regrouped(resources=Resources, callbacks=RunCallbacks)
def run(
    search: Search,
    *,
    trials: int | None,
    until: StopRule | None = None,
    timeout: float | None = None,
    resources: Resources = Resources(),
    callbacks: RunCallbacks = RunCallbacks(),
) -> Outcome:
    """Run `trials` more trials, or fewer if `until` is met, `timeout` seconds have passed or `stopped()`.

    Several workers share the trials, with one thread of torch each; their trials add up exactly. This process runs trials
    itself until they have started. If the study judges by a table of rates, the members of its front are measured when the
    trials have ended, unless `stopped()`. ValueError if the folder holds other images than the study was created with.
    RuntimeError if a worker fails or all have died.
    """
    from autost_optuna.proxies.reuse import CACHE_BYTES

    workers, on_note = resources.workers, callbacks.on_note
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
    measuring = workers + (workers > 1)  # this process too, at first
    objective = make_objective(search.settings, resources.data_root, resources.device, CACHE_BYTES // measuring)
    if search.settings.rates == TABLE:
        objective.tabled = stored_table(search.study, search.settings.space, search.settings.task)
    tally = _Tally(search, trials, until, timeout, callbacks)
    if tally.ending() is None:
        with Presence(search.study, on_note) as presence:
            objective.remember([*search.evaluated(), *search.candidates()])
            if workers == 1:
                while tally.ending() is None:
                    tally.take(run_trial(search.study, objective))
                    presence.beat()
            else:
                with make_pool(search, objective, workers) as pool, one_thread():
                    _Lead(pool, search, objective, tally, presence, on_note).lead()
    outcome = tally.outcome()
    if search.settings.rates == TABLE:
        closing = measure_front(search, objective, callbacks.stopped, callbacks.on_measured)
        outcome = replace(outcome, closing=closing, ending="stopped" if closing.left else outcome.ending)
    return outcome


@dataclass(frozen=True, slots=True)
class _Lead:
    """Hands out tickets to workers until a run ends."""

    pool: Pool
    search: Search
    objective: Objective
    tally: "_Tally"
    presence: Presence
    on_note: Callable[[str], None]

    def lead(self) -> None:
        """When it ends, also by an error, all tickets have come back, one for each trial. Errors are those of `run`."""
        pool, tally = self.pool, self.tally
        failure: Exception | None = None
        begun: dict[Worker, int | None] = {}  # the trial of each worker that has told it
        while True:
            ended = failure is not None or tally.ending() is not None
            if ended and not pool.busy:
                break
            if not ended:
                self._hand_out()
            here = not ended and pool.starting > 0 and tally.left(pool.busy) > 0  # the first workers start for seconds
            if here:
                try:
                    tally.take(run_trial(self.search.study, self.objective))
                except Exception as error:  # raised when the workers have ended their trials
                    failure = error
            for worker, message in pool.receive(timeout=0 if here else 0.5):
                if isinstance(message, WorkerMessage):
                    begun[worker] = message.number
                    continue
                trial = begun.pop(worker, None)
                if isinstance(message, Done) and message.result is None:
                    self.presence.add([worker.process.pid or 0])
                if isinstance(message, Done) and message.result is not None:
                    tally.take(message.result)
                elif isinstance(message, Ended) and not message.died:
                    failure = failure or RuntimeError(message.text)
                elif isinstance(message, Ended):
                    failure = failure or self._bury(message, trial)
            self.presence.beat()
        if failure is not None:
            raise failure

    def _hand_out(self) -> None:
        idle = [worker for worker in self.pool.workers if worker.state == "idle"]
        for worker in idle[: max(0, self.tally.left(self.pool.busy))]:
            worker.give(TICKET)

    def _bury(self, message: Ended, number: int | None) -> RuntimeError | None:
        """Handle the trial of a worker that died, which it may have stored before it could report it.

        Returns the error if no worker is left.
        """
        if number is None:
            self.presence.leave_trial()
        else:
            trial = self.search.study.get_trials(deepcopy=False)[number]
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                found = next((c for c in self.search.candidates() if c.number == number), None)
                self.tally.take(WorkerMessage(kind="finished", number=number, candidate=found))
            elif trial.state == TrialState.RUNNING:
                retire(self.search.study, [trial])
                self.tally.exhausted = False  # it is queued again
        if self.tally.ending() is not None:
            return None
        going = self.pool.left
        if going:
            some = "1 worker goes" if going == 1 else f"{going} workers go"
            self.on_note(f"warning: a worker died ({message.text}); {some} on and will do its share")
            return None
        return RuntimeError(
            f"all workers died (the last: {message.text}) after {counted(self.tally.done, 'trial')}; run again to "
            "resume, with fewer --workers if memory was short"
        )


class _Tally:
    """What a run has done so far, and whether it is enough."""

    def __init__(
        self,
        search: Search,
        trials: int | None,
        until: StopRule | None,
        timeout: float | None,
        callbacks: RunCallbacks,
    ) -> None:
        self._search, self._trials, self._until, self._timeout = search, trials, until, timeout
        self._callbacks = callbacks
        self._members: list[Candidate] = nondominated(search.candidates())
        self._start = time.monotonic()
        self.done = 0
        self.exhausted = False
        self._evidence: Convergence | None = None
        self._read_at = 0
        self._read_course()

    def take(self, message: WorkerMessage) -> None:
        """Record the result of a ticket."""
        if message.kind == "exhausted":  # unless two that wanted the last point at once have both given way
            sampler = self._search.study.sampler
            self.exhausted = not isinstance(sampler, DeclaredNSGAIISampler) or sampler.exhausted(self._search.study)
        if message.kind != "finished":
            return
        self.done += 1
        if message.candidate is not None:
            self._members = joined(self._members, message.candidate)
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
        self._callbacks.on_trial(
            Progress(done=self.done, trials=self._trials, front_size=front_size, duration_s=duration)
        )

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
        if self._callbacks.stopped():
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
