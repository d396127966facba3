"""train(): train a network of the front from its initial weights by a recipe, judge it, and measure its energy.

All random numbers of a step depend on the recipe's seed and the step's position, so that an interrupted training continues
with the same batches and augmentation. Choices use a validation split; the test set is used once, at the end.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from autost_optuna.data import Dataset
from autost_optuna.moved import regrouped
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.pages import keeping_all_pages
from autost_optuna.training.augment import Augment
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.device import make_fabric
from autost_optuna.training.evaluation import Judging
from autost_optuna.training.loop import Run
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment, Epoch, Result, Stopped, alone_in, completed
from autost_optuna.units import StrPath

CHECKPOINT_S = 60.0
WHOLE = Judging()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """How to train, with no effect on what is learned: the number of images for judging, the device (auto, cpu or cuda), logs
    for TensorBoard, whether torch.compile fuses operations, which needs a compiler, and the seconds between saved states."""

    judging: Judging = WHOLE
    accelerator: str = "auto"
    tensorboard: bool = False
    fuse: bool = False
    checkpoint_s: float = CHECKPOINT_S


AS_USUAL = TrainOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainCallbacks:
    """Who hears of a training and may stop it.

    `on_batch` is called with the epoch, the batches done in it and their number; `on_judged` with the phase ("validation" or
    "test", or "energy" if the call only finishes an earlier one), the images done and their total; `on_epoch` with each new
    line of the log.
    """

    on_batch: Callable[[int, int, int], None] = lambda epoch, batch, batches: None
    on_judged: Callable[[str, int, int], None] = lambda phase, done, total: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    stopped: Callable[[], bool] = lambda: False


@regrouped(assignment=Assignment, options=TrainOptions, callbacks=TrainCallbacks)
def train(
    assignment: Assignment,
    folder: StrPath,
    *,
    convention: Convention = DEFAULT,
    options: TrainOptions = AS_USUAL,
    callbacks: TrainCallbacks = TrainCallbacks(),
) -> Result:
    """Train a network and write `folder`/model.safetensors, weights and description.

    After each epoch, and every `checkpoint_s` seconds within one, the whole state is saved in `folder`/resume.safetensors,
    from which the same call continues; if the training is complete, the call returns its result. Under torchrun all
    processes share the batches, and the first one judges and writes. ValueError if the folder holds another training,
    Stopped if `stopped()`, RuntimeError if the loss is NaN or infinite or memory runs out.
    """
    recipe, stopped = assignment.recipe, callbacks.stopped
    check(assignment.task, assignment.dataset, recipe, options.accelerator, options.judging)
    folder, identity = Path(folder), assignment.identity
    if (folder / WEIGHTS).exists():
        return completed(folder / WEIGHTS, identity, convention)
    fabric = make_fabric(recipe, options.accelerator)
    first = fabric.is_global_zero
    with (
        keeping_all_pages(),
        alone_in(folder) if first else contextlib.nullcontext(),
        _scalars(folder, wanted=options.tensorboard and first) as log_scalars,
    ):
        run = Run(assignment, folder, fabric, options.judging, callbacks.on_judged)
        if options.fuse:
            run.fuse()
        for epoch in range(len(run.log), recipe.epochs):
            if run.ended_early():
                break
            run.train_epoch(epoch, options.checkpoint_s, callbacks.on_batch, stopped)
            line = run.judge_epoch(epoch)
            log_scalars(line)
            callbacks.on_epoch(line)
            if stopped() and epoch + 1 < recipe.epochs and not run.ended_early():
                raise Stopped
        run.finish(convention)
    return completed(folder / WEIGHTS, identity, convention)


def check(task: Task, dataset: Dataset, recipe: Recipe, accelerator: str = "auto", judging: Judging = WHOLE) -> None:
    """ValueError if networks of `task` cannot be trained like this: other classes, too few images, no such device."""
    if dataset.num_classes != task.num_classes:
        raise ValueError(
            f"data {dataset.name} has {dataset.num_classes} classes, task {task.name} {task.num_classes}; "
            f"train on other data, or create a study of a task with {dataset.num_classes} classes (--task FILE.toml)"
        )
    judging.chosen(dataset, recipe)
    Augment(recipe, task)
    gpu = torch.cuda.is_available()
    if accelerator == "cuda" and not gpu:
        raise ValueError("accelerator cuda: torch finds no GPU here; use cpu or auto")
    if recipe.precision == "16-mixed" and (accelerator == "cpu" or not gpu):
        raise ValueError("precision 16-mixed needs a GPU; use bf16-mixed or 32-true")


@contextlib.contextmanager
def _scalars(folder: Path, *, wanted: bool) -> Iterator[Callable[[Epoch], None]]:
    """Write the lines of the log for TensorBoard, if `wanted`."""
    if not wanted:
        yield lambda line: None
        return
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    try:
        logger = TensorBoardLogger(root_dir=folder, name="tensorboard", version="")
    except ModuleNotFoundError:
        raise ValueError("TensorBoard is not installed; install it with: pip install tensorboard") from None

    def write(line: Epoch) -> None:
        scalars = asdict(line)
        logger.log_metrics(scalars, step=scalars.pop("epoch"))

    try:
        yield write
    finally:
        logger.finalize("")
