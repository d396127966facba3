"""A pool of processes that work for this one, forked from a server that has already imported what takes seconds.

Threads of torch and gRPC do not survive a fork. The server has none: it imports and waits.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Literal

from autost_optuna.units import one_line

STOPS = (signal.SIGINT, signal.SIGTERM)
FORKS = multiprocessing.get_context("forkserver")
# With torch, which is imported on first use elsewhere.
PRELOADED = ("autost_optuna.proxies.reuse", "autost_optuna.storage.storage", "autost_optuna.storage.journal")

FORK_S = 0.05

# Called with the study's name and storage, how to say something, and what else was given; yields what carries out a job.
Work = Callable[..., AbstractContextManager[Callable[[int], Any]]]


@dataclass(frozen=True, slots=True)
class Done:
    """A process has done its job, with this result; or is ready for its first, with None."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A process has ended, and how: by an error that it could still say, or else it `died`."""

    text: str
    died: bool = False


class Worker:
    """A process, our end of its pipe, its state, and the job that it does or did last."""

    def __init__(self, process: BaseProcess, pipe: "Connection[int, Any]") -> None:
        self.process = process
        self.pipe = pipe
        self.state: Literal["starting", "idle", "busy"] = "starting"
        self.job: int | None = None

    def give(self, job: int) -> None:
        """Give it a job. If it has died, its next message says so."""
        self.state, self.job = "busy", job
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def receive(self) -> Any:
        """Its next message."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Ended(_death(self.process), died=True)
        if isinstance(message, Done):
            self.state = "idle"
        return message


class Pool:
    """Processes that carry out jobs, one for each of `shares`, which are environment variables; none outlives the context.

    Each opens `work` with the name and the storage of a study and with `given`, and asks for jobs. It ends when its pipe
    does: if this process is killed, that is after the current job.
    """

    def __init__(
        self, work: Work, study: tuple[str, str], given: Sequence[Any], shares: Sequence[Mapping[str, str]]
    ) -> None:
        start_server(work.__module__)
        self.workers: list[Worker] = []
        self._to_start, self._failure = len(shares), ""
        # A fork waits for the server, which imports for seconds.
        self._starter = Thread(target=self._start, args=(shares, (work, study, tuple(given))), daemon=True)
        self._starter.start()

    def _start(self, shares: Sequence[Mapping[str, str]], given: tuple[Any, ...]) -> None:
        try:
            for share in shares:
                ours, theirs = FORKS.Pipe()
                process = FORKS.Process(target=_enter, args=(theirs, {**os.environ, **share}, *given), daemon=True)
                process.start()
                theirs.close()  # the worker has the other copy: when it dies, the pipe ends
                self.workers.append(Worker(process, ours))
                self._to_start -= 1
        except Exception as error:
            self._failure = f"no worker could be started ({type(error).__name__}: {error}); repeat the command"

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *ended: object) -> None:
        self._starter.join()
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            if worker.state == "idle" and not any(ended):
                worker.process.join(10)
            worker.process.kill()
            worker.process.join()

    @property
    def starting(self) -> int:
        """The number of workers that are not ready yet."""
        return self._to_start + sum(worker.state == "starting" for worker in self.workers)

    @property
    def busy(self) -> int:
        """The number of workers with a job."""
        return sum(worker.state == "busy" for worker in self.workers)

    @property
    def left(self) -> int:
        """The number of workers that have not ended."""
        return self._to_start + len(self.workers)

    def receive(self, timeout: float) -> Iterator[tuple[Worker, Any]]:
        """Messages that come within `timeout` seconds: Done, Ended, or what a job says. A worker that ended is removed.

        RuntimeError if workers cannot be started.
        """
        if self._failure:
            raise RuntimeError(self._failure)
        # One that is still to be forked has no pipe to wait for.
        ready = wait([worker.pipe for worker in self.workers], min(timeout, FORK_S) if self._to_start else timeout)
        for worker in [worker for worker in self.workers if worker.pipe in ready]:
            message = worker.receive()
            if isinstance(message, Ended):
                self.workers.remove(worker)
                worker.pipe.close()
            yield worker, message


def start_server(*modules: str) -> None:
    """Start the server that workers are forked from, unless it runs. Returns at once, while it imports `modules`."""
    FORKS.set_forkserver_preload([*PRELOADED, *modules])
    with _alone():
        forkserver.ensure_running()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch uses one thread within the context, because other processes need the other processors."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """A process that starts within has no threads of OpenMP's, and no signal reaches what is forked from it too early."""
    resource_tracker.ensure_running()  # starting it within would let signals through
    threads, before = os.environ.get("OMP_NUM_THREADS"), signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        del os.environ["OMP_NUM_THREADS"]
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads


def on_stop(handler: Any) -> None:
    """Handle Ctrl-C and SIGTERM in a worker, which lets them through only now."""
    for number in STOPS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _enter(
    pipe: "Connection[Any, int]", variables: Mapping[str, str], work: Work, study: tuple[str, str], given: Sequence[Any]
) -> None:
    """The main loop of a worker."""
    import optuna
    import torch

    from autost_optuna.storage.location import hide

    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with work(*study, pipe.send, *given) as carry_out:
            result = None
            while True:
                pipe.send(Done(result))
                result = carry_out(pipe.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the other process has gone, or dismissed this one
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError | RuntimeError) else f"{type(error).__name__}: "
        with contextlib.suppress(OSError):
            text = hide(str(error), study[1]) if "://" in study[1] else str(error).strip().partition("\n")[0]
            pipe.send(Ended(one_line(kind + text)))


def _death(process: BaseProcess) -> str:
    """How a process ended, in words."""
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return f"process {process.pid} was killed, perhaps for want of memory"
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"process {process.pid} ended {how}"
