"""Train members of a search, each once, even from several terminals."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from autost_optuna.data import Dataset, Preparation, load
from autost_optuna.search.search import Search
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.claims import Records
from autost_optuna.training.crew import share_out
from autost_optuna.training.device import make_fabric
from autost_optuna.training.forecast import forecast
from autost_optuna.training.member import Workshop, present
from autost_optuna.training.orders import (
    Means,
    Message,
    Order,
    Tell,
    artifacts_folder,
    key_of,
    process_rank,
    world,
)
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.record import Record
from autost_optuna.training.records import dropped_of, open_trained, trainings_of
from autost_optuna.training.resume import RESUME, Assignment, Stopped, check_folder, log_of
from autost_optuna.training.trainer import check
from autost_optuna.units import counted


def train_members(
    search: Search,
    todo: Sequence[Order],
    means: Means,
    *,
    tell: Tell = lambda message: None,
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Record]:
    """Train the networks of all orders that no process has trained or is training, and return the trained ones.

    If the loss of an order is NaN or infinite, or it runs out of memory, only that order fails. Processes that share the
    orders have a GPU each if there are any. `on_frames` reports recordings that are cut into frames. Stopped if
    `stopped()`; RuntimeError at the end if an order failed.
    """
    dataset, trainings, todo = prepare(search, todo, means, on_frames)
    if text := foretell(trainings, todo, dataset, means):
        tell(Message(kind="forecast", text=text))
    ends = carry_out(Workshop(trainings, dataset, means, tell, stopped), todo)
    failures = sum(end.kind == "failed" for end in ends)
    if failures:
        raise RuntimeError(f"{failures} of {counted(len(todo), 'training')} failed; the reasons stand above")
    return [end.training for end in ends if end.training is not None]


def prepare(
    search: Search,
    todo: Sequence[Order],
    means: Means,
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> tuple[Dataset, Records, list[Order]]:
    """The data, the study of trained networks, and the orders, each in the folder where a halving left it.

    ValueError if one of the orders cannot be trained.
    """
    if means.workers < 1:
        raise ValueError(f"workers {means.workers} is not positive; use 1, or one per GPU")
    if means.workers > 1 and world() > 1:
        raise ValueError(f"workers {means.workers} and torchrun are two ways to use several processes; leave one out")
    task, frames = search.settings.task, todo[0].recipe.frames
    with _one_first(todo[0].recipe, means.options.accelerator):
        download = means.download and not process_rank()
        preparation = Preparation(download=download, on_frames=on_frames)
        dataset = load(means.data, task, means.data_root, frames=frames, preparation=preparation)
    for recipe in {order.recipe for order in todo}:
        check(task, dataset, recipe, means.options.accelerator, means.options.judging)
    known = {training.key for training in trainings_of(search)}
    left = {dropped.key: Path(dropped.path) for dropped in dropped_of(search)}
    found = [_where_left(order, left.get(key_of(order, dataset))) for order in todo]
    for order in found:
        if key_of(order, dataset) not in known:
            check_folder(order.folder, Assignment(order.candidate.architecture, task, dataset, order.recipe).identity)
    return dataset, open_trained(search, create=True, artifacts=artifacts_folder(search, todo)), found


def foretell(trainings: Records, todo: Sequence[Order], dataset: Dataset, means: Means) -> str:
    """One line on how long the remaining orders will take; nothing if there are none."""
    task, known = trainings.search.settings.task, {training.key for training in trainings.all()}
    left = [order for order in todo if key_of(order, dataset) not in known]
    if not left or process_rank():
        return ""
    sample = left[0]
    first = Assignment(sample.candidate.architecture, task, dataset, sample.recipe)
    foreseen = forecast(first, means.options.judging, means.options.accelerator)
    sizes = []
    for order in left:
        identity = Assignment(order.candidate.architecture, task, dataset, order.recipe).identity
        epochs = order.recipe.epochs - len(log_of(order.folder, identity))
        sizes.append((epochs, order.candidate.flops / sample.candidate.flops))
    return foreseen.in_words(sizes, workers=min(means.workers, len(left)), processes=world())


def carry_out(workshop: Workshop, todo: Sequence[Order]) -> list[Message]:
    """The outcome of each order, carried out one by one here or by several processes. Stopped if the workshop is."""
    if min(workshop.means.workers, len(todo)) > 1:
        ends = share_out(workshop, todo)
    else:
        ends = []
        with present(workshop.trainings) as presence:
            here = replace(workshop, presence=presence)
            for index, order in enumerate(todo):
                ends.append(here.carry_out(order, index))
                workshop.tell(ends[-1])
                if ends[-1].kind == "stopped" or workshop.stopped():
                    break
    if len(ends) < len(todo) or any(end.kind == "stopped" for end in ends):
        raise Stopped
    return ends


@contextlib.contextmanager
def _one_first(recipe: Recipe, accelerator: str) -> Iterator[None]:
    """The first of torchrun's processes runs the context alone, then the others do."""
    fabric = make_fabric(recipe, accelerator) if world() > 1 else None
    if fabric is not None and process_rank():
        fabric.barrier()
    yield
    if fabric is not None and not process_rank():
        fabric.barrier()


def _where_left(order: Order, left: Path | None) -> Order:
    """The order, moved to the folder `left`, which has its state, if its own folder has none."""

    def begun(folder: Path) -> bool:
        return any((folder / name).exists() for name in (WEIGHTS, RESUME))

    return replace(order, folder=left) if left is not None and begun(left) and not begun(order.folder) else order
