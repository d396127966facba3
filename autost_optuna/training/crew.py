"""Several processes that each train members, one after the other."""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait

import optuna
import torch

from autost_optuna.data import load
from autost_optuna.search.search import Search
from autost_optuna.search.study import open_search
from autost_optuna.search.workers import STOPS, death, environment, undisturbed
from autost_optuna.training.member import carry_out_one, present
from autost_optuna.training.orders import Means, Message, Order, Tell, artifacts_folder
from autost_optuna.training.records import open_trained
from autost_optuna.units import one_line


class Crew:
    """Processes that each carry out orders, one after the other; none outlives the context."""

    def __init__(self, search: Search, todo: Sequence[Order], means: Means, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        self._todo = todo
        self._processes = {}
        for number in range(min(count, len(todo))):
            with environment(**_share_of_machine(number, count, means.accelerator)), undisturbed():
                ours, theirs = context.Pipe()
                given = (theirs, search.study.study_name, search.storage, tuple(todo), means)
                process = context.Process(target=_work, args=given, daemon=True)
                process.start()
            theirs.close()  # the worker has the other copy: when it dies, the pipe ends
            self._processes[ours] = process

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *ended: object) -> None:
        for pipe, process in self._processes.items():
            process.kill()
            process.join()
            pipe.close()

    def lead(self, tell: Tell, stopped: Callable[[], bool]) -> list[Message]:
        """Hand out the orders, and return what became of each."""
        left = deque(range(len(self._todo)))
        at = dict.fromkeys(self._processes, -1)  # the order of each worker, -1 while it starts
        ends: dict[int, Message] = {}
        asked, last = False, ""
        while at and len(ends) < len(self._todo):
            if stopped() and not asked:
                asked = True
                ends.update({index: Message(kind="stopped", index=index) for index in left})
                left.clear()
                for process in self._processes.values():
                    process.terminate()  # a request to stop: it saves its state first
            for pipe in wait(list(at), timeout=0.5):
                assert isinstance(pipe, Connection)
                try:
                    message: Message = pipe.recv()
                except (EOFError, OSError):
                    self._processes[pipe].join()
                    last = death(self._processes[pipe])
                    message = Message(kind="failed", index=at.pop(pipe), text=last)
                if message.kind in ("batch", "judged", "epoch"):
                    tell(message)
                    continue
                if message.index >= 0:
                    ends[message.index] = message
                    tell(message)
                elif message.kind == "failed":  # before it had an order: it accepts none
                    at.pop(pipe, None)
                    last = message.text
                if pipe in at and left:
                    at[pipe] = left.popleft()
                    try:
                        pipe.send(at[pipe])
                    except OSError:  # it has ended since
                        left.appendleft(at.pop(pipe))
                elif pipe in at:
                    del at[pipe]
        for index in left:
            ends[index] = Message(kind="failed", index=index, text=f"no worker is left to train it; the last: {last}")
            tell(ends[index])
        return [ends[index] for index in sorted(ends)]


def _work(pipe: "Connection[Message, int]", name: str, storage: str, todo: Sequence[Order], means: Means) -> None:
    """The main loop of a worker. On Ctrl-C, which reaches the whole group, and on SIGTERM it saves its state and ends."""
    wishes: list[int] = []
    for number in STOPS:
        signal.signal(number, lambda number, frame: wishes.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    index = -1
    try:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        search = open_search(name, storage, write=True)
        trainings = open_trained(search, create=True, artifacts=artifacts_folder(search, todo))
        dataset = load(means.data, search.settings.task, means.data_root, frames=todo[0].recipe.frames)
        with present(trainings) as presence:
            pipe.send(Message(kind="ready"))
            while not wishes:
                index = pipe.recv()
                try:
                    carry_out_one(
                        trainings, todo[index], index, dataset, means, presence, pipe.send, lambda: bool(wishes)
                    )
                except ValueError as error:  # only this order failed
                    pipe.send(Message(kind="failed", index=index, text=one_line(str(error))))
                index = -1
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the command has ended
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError | RuntimeError) else f"{type(error).__name__}: "
        with contextlib.suppress(OSError):
            pipe.send(Message(kind="failed", index=index, text=one_line(f"{kind}{error}")))


def _share_of_machine(number: int, count: int, accelerator: str) -> dict[str, str]:
    """The share of the machine of worker `number` of `count`: its part of the processors, and one of the GPUs."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": str(max(1, processors // count))}
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    if gpus:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        share["CUDA_VISIBLE_DEVICES"] = seen[number % len(seen)]
    return share
