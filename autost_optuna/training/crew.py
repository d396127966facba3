"""Several processes that each train members, one after the other."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch

from autost_optuna.data import load
from autost_optuna.search.pool import Done, Ended, Pool, on_stop
from autost_optuna.search.study import open_search
from autost_optuna.training.member import Workshop, present
from autost_optuna.training.orders import Means, Message, Order, Tell, artifacts_folder
from autost_optuna.training.records import open_trained
from autost_optuna.units import one_line


def share_out(workshop: Workshop, todo: Sequence[Order]) -> list[Message]:
    """Hand out the orders to several processes, and return what became of each."""
    search, means, tell = workshop.trainings.search, workshop.means, workshop.tell
    left = deque(range(len(todo)))
    ends: dict[int, Message] = {}
    asked, last = False, ""

    def end(message: Message) -> None:
        ends[message.index] = message
        tell(message)

    study = search.study.study_name, search.storage
    count = min(means.workers, len(todo))
    shares = [_share_of_machine(number, count, means.options.accelerator) for number in range(count)]
    with Pool(_training, study, [tuple(todo), means], shares) as pool:
        while pool.left and len(ends) < len(todo):
            if workshop.stopped() and not asked:
                asked = True
                ends.update({index: Message(kind="stopped", index=index) for index in left})
                left.clear()
                for worker in pool.workers:
                    worker.process.terminate()  # a request to stop: it saves its state first
            for worker, message in pool.receive(timeout=0.5):
                if isinstance(message, Message):
                    tell(message)
                elif isinstance(message, Ended):
                    last = message.text
                    if worker.state == "busy" and worker.job is not None:
                        end(Message(kind="failed", index=worker.job, text=last))
                elif isinstance(message, Done) and message.result is not None:
                    end(message.result)
                if worker.state == "idle" and left:
                    worker.give(left.popleft())
    for index in left:
        end(Message(kind="failed", index=index, text=f"no worker is left to train it; the last: {last}"))
    return [ends[index] for index in sorted(ends)]


@contextlib.contextmanager
def _training(
    name: str, storage: str, say: Tell, todo: Sequence[Order], means: Means
) -> Iterator[Callable[[int], Message]]:
    """The work of a worker. On Ctrl-C, which reaches the whole group, and on SIGTERM it saves its state."""
    wishes: list[int] = []
    on_stop(lambda number, frame: wishes.append(number))
    search = open_search(name, storage, write=True)
    trainings = open_trained(search, create=True, artifacts=artifacts_folder(search, todo))
    dataset = load(means.data, search.settings.task, means.data_root, frames=todo[0].recipe.frames)
    with present(trainings) as presence:
        workshop = Workshop(trainings, dataset, means, say, lambda: bool(wishes), presence)

        def train(index: int) -> Message:
            try:
                return workshop.carry_out(todo[index], index)
            except ValueError as error:  # only this order failed
                return Message(kind="failed", index=index, text=one_line(str(error)))

        yield train


def _share_of_machine(number: int, count: int, accelerator: str) -> dict[str, str]:
    """The share of the machine of worker `number` of `count`: its part of the processors, and one of the GPUs."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": str(max(1, processors // count))}
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    if gpus:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        share["CUDA_VISIBLE_DEVICES"] = seen[number % len(seen)]
    return share
