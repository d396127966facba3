"""Workers: separate processes that run one trial after the other, and take a ticket before they ask for each."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from autost_optuna.front.candidate import Candidate
from autost_optuna.proxies.reuse import CACHE_BYTES
from autost_optuna.search.objective import Objective
from autost_optuna.search.presence import RETRY, held
from autost_optuna.search.restore import make_objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler, SpaceExhausted
from autost_optuna.search.search import Search
from autost_optuna.search.study import open_search
from autost_optuna.storage.location import hide
from autost_optuna.units import StrPath, one_line

STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerMessage:
    """A worker's report. "finished": a trial that counts, with its candidate if it has one; "lost": one that does not count,
    because another run assumed that this one was dead; "died": its last trial, if it reported one, and how it ended."""

    kind: Literal["ready", "started", "finished", "lost", "exhausted", "failed", "died"]
    number: int | None = None
    candidate: Candidate | None = None
    text: str = ""


def run_trial(
    study: optuna.Study, objective: Objective, on_start: Callable[[int], None] = lambda number: None
) -> WorkerMessage:
    """Run one trial to its end. SpaceExhausted if no point is left; any other error leaves the trial failed."""
    sampler = study.sampler
    exhausted = isinstance(sampler, DeclaredNSGAIISampler) and sampler.exhausted(study)
    if exhausted and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        raise SpaceExhausted  # before asking for a trial in vain
    trial = study.ask()
    on_start(trial.number)
    candidate = None
    try:
        if RETRY in trial.user_attrs and held(study, study._storage.get_trial(trial._trial_id)):
            study.tell(trial, state=TrialState.FAIL)
            return WorkerMessage(kind="lost", number=trial.number)
        study.tell(trial, objective(trial))
        candidate = Candidate.from_dict(trial.user_attrs["candidate"], number=trial.number)
    except SpaceExhausted:  # others took the last points after this trial was requested
        study.tell(trial, state=TrialState.FAIL)
        raise
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except UpdateFinishedTrialError:
        return WorkerMessage(kind="lost", number=trial.number)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to report
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    return WorkerMessage(kind="finished", number=trial.number, candidate=candidate)


class Worker:
    """A process, our end of its pipe, and its state: None while it starts, then "idle" or "busy"."""

    def __init__(self, process: BaseProcess, pipe: "Connection[bool, WorkerMessage]") -> None:
        self.process = process
        self.pipe = pipe
        self.state: Literal["idle", "busy"] | None = None
        self.trial: int | None = None

    def receive(self) -> WorkerMessage:
        """The next message; "died" if the pipe has ended."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return WorkerMessage(kind="died", number=self.trial, text=death(self.process))
        if message.kind == "started":
            self.trial = message.number
        else:
            self.state, self.trial = "idle", None
        return message


class Pool:
    """Worker processes with one thread of torch each; none outlives the context.

    A worker asks for a trial only when it gets a ticket, so there are as many trials as tickets. It ends when its pipe does:
    if this process is killed, that is after the current trial.
    """

    def __init__(self, search: Search, count: int, *, data_root: StrPath | None = None, device: str = "cpu") -> None:
        context = multiprocessing.get_context("spawn")  # torch and gRPC do not survive a fork
        given = (search.study.study_name, search.storage, data_root, device, CACHE_BYTES // count)
        self.workers: list[Worker] = []
        with environment(OMP_NUM_THREADS="1"), undisturbed():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, *given), daemon=True)
                process.start()
                theirs.close()  # the worker has the other copy: when it dies, the pipe ends
                self.workers.append(Worker(process, ours))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for worker in self.workers if error is None else ():
                if worker.state == "idle":
                    with contextlib.suppress(OSError):
                        worker.pipe.send(False)
                        worker.process.join(10)
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()

    @property
    def busy(self) -> int:
        """The number of workers with a ticket."""
        return sum(worker.state == "busy" for worker in self.workers)

    def hand_out(self, most: int) -> None:
        """Give a ticket to each idle worker, at most `most` in all."""
        for worker in [worker for worker in self.workers if worker.state == "idle"][: max(0, most)]:
            worker.state = "busy"
            with contextlib.suppress(OSError):  # it died, which its next message says
                worker.pipe.send(True)

    def receive(self, timeout: float) -> Iterator[WorkerMessage]:
        """The messages of workers within `timeout` seconds; a worker that died is removed."""
        ready = wait([worker.pipe for worker in self.workers], timeout)
        for worker in [worker for worker in self.workers if worker.pipe in ready]:
            message = worker.receive()
            if message.kind in ("died", "failed"):
                self.workers.remove(worker)
            yield message


def _work(
    pipe: "Connection[WorkerMessage, bool]",
    name: str,
    storage: str,
    data_root: StrPath | None,
    device: str,
    cache_bytes: int,
) -> None:
    """The main loop of a worker. It leaves Ctrl-C and SIGTERM, which reach the whole group, to the parent process."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    try:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        search = open_search(name, storage, write=True)
        objective = make_objective(search.settings, data_root, device, cache_bytes)
        objective.remember(search.candidates())
        pipe.send(WorkerMessage(kind="ready"))
        while pipe.recv():
            try:
                message = run_trial(
                    search.study, objective, lambda number: pipe.send(WorkerMessage(kind="started", number=number))
                )
            except SpaceExhausted:
                message = WorkerMessage(kind="exhausted")
            pipe.send(message)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the other process has gone
    except Exception as error:
        kind = "" if isinstance(error, (ValueError, OSError, RuntimeError)) else f"{type(error).__name__}: "
        with contextlib.suppress(OSError):
            pipe.send(WorkerMessage(kind="failed", text=one_line(kind + _first_line(error, storage))))


def _first_line(error: Exception, storage: str) -> str:
    """The first line of an error, without the password of the storage."""
    text = str(error).strip()
    return hide(text, storage) if "://" in storage else text.partition("\n")[0]


def death(process: BaseProcess) -> str:
    """How a process ended, in words."""
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return f"process {process.pid} was killed, perhaps for want of memory"
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"process {process.pid} ended {how}"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Block signals in each process that starts within the context, until it has set its own handlers."""
    resource_tracker.ensure_running()  # starting it within would let them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for processes that start within the context; torch reads them when it loads."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
