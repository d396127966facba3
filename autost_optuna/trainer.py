"""train(): a network of the front, trained from its weights at initialisation by a recipe, judged, and its energy measured.

Whatever a step draws comes from the recipe's seed and the step's place, so that a training that was cut off anywhere goes on
with the same batches, augmented alike. Choices are made on a validation split; the test set is looked at once, at the end.
"""

import contextlib
import copy
import fcntl
import hashlib
import logging
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from autost_optuna import checkpoint
from autost_optuna.architecture import Architecture
from autost_optuna.augment import Augment, seeded
from autost_optuna.batches import Batches, split_training
from autost_optuna.checkpoint import WEIGHTS
from autost_optuna.data import Dataset
from autost_optuna.evaluation import (
    EVAL_BATCH,
    Judged,
    Judging,
    Measured,
    evaluate,
    judge,
    mean_rate_of,
    measured_of,
    recalibrate,
)
from autost_optuna.model.neuron import PLIF
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.pages import keeping_all_pages
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.recipe import TET, Recipe
from autost_optuna.task import Task
from autost_optuna.units import StrPath

RESUME = "resume.safetensors"
RECIPE = "recipe.toml"
CHECKPOINT_S = 60.0
WHOLE = Judging()
RECALIBRATION_IMAGES = 512
EMA_WARMUP = 10  # the average of the first steps follows them closely: its decay is at most (1 + step) / (10 + step)


class Stopped(Exception):  # noqa: N818 - no error: someone asked for it
    """A training was asked to stop, and kept its state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One line of the log: mean loss, accuracy on the validation split, mean spike rate there, images a second."""

    epoch: int
    loss: float
    validation_accuracy: float
    mean_rate: float
    lr: float
    images_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What training found: accuracies after the last epoch, measured once each, energy, the log, and what it took.

    `test_images` of the test set were looked at, None: all of them.
    """

    path: Path
    validation_accuracy: float
    test_accuracy: float
    measured: Measured
    log: tuple[Epoch, ...]
    duration_s: float
    machine: str
    test_images: int | None = None

    @property
    def images_per_s(self) -> float:
        """Images a second while training, the median of the epochs."""
        return sorted(line.images_per_s for line in self.log)[len(self.log) // 2]


def train(
    architecture: Architecture,
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    folder: StrPath,
    *,
    convention: Convention = DEFAULT,
    judging: Judging = WHOLE,
    accelerator: str = "auto",
    tensorboard: bool = False,
    fuse: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
    on_batch: Callable[[int, int, int], None] = lambda epoch, batch, batches: None,
    on_judged: Callable[[str, int, int], None] = lambda phase, done, total: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network and write `folder`/model.safetensors, weights and description.

    It is judged on as many images as `judging` says. `on_judged` hears of each phase, "validation" and "test", how many of how
    many images are done; and of "energy", where a call only finishes what another began.
    After each epoch, and within one every `checkpoint_s` seconds, the whole state is kept in `folder`/resume.safetensors, from
    which the same call goes on; a call whose training is complete returns its result. With `fuse` torch.compile fuses
    operations, which needs a compiler. Under torchrun all processes share the batches, and the first one judges and writes.
    ValueError where the folder holds another training, Stopped where `stopped()`, RuntimeError where the loss is no number or
    memory is short.
    """
    check(task, dataset, recipe, accelerator, judging)
    folder, identity = Path(folder), identity_of(architecture, task, dataset, recipe)
    if (folder / WEIGHTS).exists():
        return _completed(folder / WEIGHTS, identity, convention)
    fabric = make_fabric(recipe, accelerator)
    first = fabric.is_global_zero
    with (
        keeping_all_pages(),
        _alone(folder) if first else contextlib.nullcontext(),
        _scalars(folder, wanted=tensorboard and first) as log_scalars,
    ):
        run = _Run(identity, architecture, task, dataset, recipe, folder, fabric, judging, on_judged)
        if fuse:
            run.fuse()
        for epoch in range(len(run.log), recipe.epochs):
            if run.ended_early():
                break
            run.train_epoch(epoch, checkpoint_s, on_batch, stopped)
            line = run.judge_epoch(epoch)
            log_scalars(line)
            on_epoch(line)
            if stopped() and epoch + 1 < recipe.epochs and not run.ended_early():
                raise Stopped
        run.finish(convention)
    return _completed(folder / WEIGHTS, identity, convention)


def identity_of(architecture: Architecture, task: Task, dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """What makes two trainings one; kept with the weights."""
    return {
        "architecture": architecture.to_dict(),
        "task": asdict(task),
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint(),
        "recipe": recipe.to_dict(),
    }


def check_folder(folder: Path, identity: dict[str, Any]) -> None:
    """ValueError where `folder` holds another training, or a damaged one."""
    for path in (folder / WEIGHTS, folder / RESUME):
        if path.exists():
            _load(path, identity)
            return


def log_of(folder: Path, identity: dict[str, Any]) -> tuple[Epoch, ...]:
    """The epochs that the training in `folder` has behind it, whether it has ended or not. ValueError as of `check_folder`."""
    for path in (folder / WEIGHTS, folder / RESUME):
        if path.exists():
            _, info = _load(path, identity)
            return tuple(Epoch(**entry) for entry in info.get("training", info)["log"])
    return ()


def check(task: Task, dataset: Dataset, recipe: Recipe, accelerator: str = "auto", judging: Judging = WHOLE) -> None:
    """ValueError if networks of `task` cannot be trained so: other classes, too few images, no such device."""
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


def make_fabric(recipe: Recipe, accelerator: str = "auto") -> Fabric:
    """Device and precision; under torchrun one process of many."""
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)  # it repeats the precision
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=recipe.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


class _Run:
    """One training: the network and all that changes with it."""

    def __init__(
        self,
        identity: dict[str, Any],
        architecture: Architecture,
        task: Task,
        dataset: Dataset,
        recipe: Recipe,
        folder: Path,
        fabric: Fabric,
        judging: Judging,
        on_judged: Callable[[str, int, int], None],
    ) -> None:
        self.identity, self.recipe, self.folder, self.fabric = identity, recipe, folder, fabric
        self._augment = Augment(recipe, task)
        self._glance = min(EVAL_BATCH, 2 * recipe.batch_size)  # without gradients an image takes less memory
        trained_on, _ = split_training(dataset, recipe.validation_share, recipe.images)
        validation, test = judging.chosen(dataset, recipe)
        self._test_images = len(test) if len(test) < len(dataset.test.labels) else None
        self._on_judged = on_judged
        self._found: Judged | None = None  # of the last epoch, unless that was before this call
        reads = (dataset.normalisation, task, fabric.device)
        self._train = Batches(dataset.train, trained_on, *reads)
        self._validation = Batches(dataset.train, validation, *reads)
        self._test = Batches(dataset.test, test, *reads)
        self.network = SpikingTransformer(architecture, task, seed=recipe.seed)
        self._plain = plain = _optimizer(self.network, recipe)
        self._order_channels(torch.channels_last)  # as in training: DDP lays out its gradients as the weights are now
        self.model, self._optimizer = fabric.setup(self.network, plain)
        self._order_channels(torch.contiguous_format)
        self._average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema_decay else None
        # Once the weights are on the device: the optimizer's state goes where they are.
        state = _resume(folder / RESUME, identity, self.network, plain, self._average)
        self.log = [Epoch(**entry) for entry in state["log"]]
        self._batch, self._step = int(state["batch"]), int(state["step"])
        self._losses: list[float] = state["losses"]
        self._before_s = float(state["duration_s"])
        self._start = time.monotonic()
        self._scaler = getattr(fabric.strategy.precision, "scaler", None)
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def fuse(self) -> None:
        """Have torch.compile fuse the operations of the neurons, and on a GPU of each part, in training, not in judging.

        On the CPU the convolutions and products, most of the time there, are slower with whole parts compiled. ValueError
        where there is no compiler.
        """
        if self.fabric.device.type != "cpu":
            for part in (self.network.stem, *self.network.blocks):
                part.compile(dynamic=False)
            return
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise ValueError(f"--compile needs the C++ compiler {compiler}; install it, or leave --compile out")
        for module in self.network.modules():
            if isinstance(module, PLIF):
                module.fused = True

    @property
    def judged(self) -> SpikingTransformer:
        """The network whose accuracy counts: the moving average where the recipe asks for one."""
        return self.network if self._average is None else self._average

    def ended_early(self) -> bool:
        """Whether the recipe's patience is at an end."""
        accuracies = [line.validation_accuracy for line in self.log]
        best = accuracies.index(max(accuracies)) if accuracies else 0
        return bool(self.recipe.patience) and len(accuracies) - 1 - best >= self.recipe.patience

    def train_epoch(
        self,
        epoch: int,
        checkpoint_s: float,
        on_batch: Callable[[int, int, int], None],
        stopped: Callable[[], bool],
    ) -> None:
        """The batches of an epoch from where it was cut off."""
        recipe, count = self.recipe, math.ceil(len(self._train) / self.recipe.batch_size)
        steps = recipe.epochs * math.ceil(count / recipe.accumulate)
        fresh: list[Tensor] = []
        began, saved, first, images = time.monotonic(), time.monotonic(), self._batch, 0
        self.model.train()
        self._order_channels(torch.channels_last)  # convolutions and pooling are faster so
        mine = self._share(self._order(epoch).split(recipe.batch_size)[first:])
        for batch, (pixels, labels) in enumerate(self._train.raw(mine), first):
            first_of_step = batch - batch % recipe.accumulate
            parts = min(recipe.accumulate, count - first_of_step)
            at_rest = batch == first_of_step + parts - 1
            with _memory(recipe, self.folder):
                with self.fabric.no_backward_sync(self.model, enabled=not at_rest):
                    fresh.append(self._forward_backward(epoch, batch, pixels, labels, parts))
                if at_rest:
                    self._take_step(steps)
            images += len(labels) * self.fabric.world_size
            self._batch = batch + 1
            if self.fabric.device.type == "cpu" or len(fresh) >= 16:  # looking at a loss waits for the GPU
                self._look(epoch, fresh)
            on_batch(epoch, batch + 1, count)
            if at_rest and batch + 1 < count and (time.monotonic() - saved >= checkpoint_s or stopped()):
                self._look(epoch, fresh)
                self.save()
                saved = time.monotonic()
                if stopped():
                    raise Stopped
        self._look(epoch, fresh)
        self._order_channels(torch.contiguous_format)  # judged as it is loaded: the other order rounds otherwise
        self._images_per_s = images / (time.monotonic() - began)

    def judge_epoch(self, epoch: int) -> Epoch:
        """The line of the log of an epoch that is trained; keeps the state."""
        line = None
        if self.fabric.is_global_zero:
            with _memory(self.recipe, self.folder), torch.compiler.set_stance("force_eager"):
                self._recalibrate()
                self._found = found = self._judge("validation")
                line = Epoch(
                    epoch=epoch + 1,
                    loss=math.fsum(self._losses) / len(self._losses),
                    validation_accuracy=found.accuracy,
                    mean_rate=mean_rate_of(self.judged, found.rates),
                    lr=self._plain.param_groups[0]["lr"],
                    images_per_s=self._images_per_s,
                )
        line = self.fabric.broadcast(line)
        assert line is not None
        self.log.append(line)
        self._batch, self._losses = 0, []
        self.save()
        return line

    def _judge(self, phase: str) -> Judged:
        """Accuracy and rates on the validation split, in one pass."""
        heard = partial(self._on_judged, phase)
        count = len(self._validation)
        return judge(self.judged, self._validation, rate_images=count, batch_size=self._glance, on_done=heard)

    def finish(self, convention: Convention) -> None:
        """Look at the test set, measure the energy, and write the result in place of the state."""
        if self.fabric.is_global_zero:
            with _memory(self.recipe, self.folder), torch.compiler.set_stance("force_eager"):
                found = self._found or self._judge("energy")
                measured = measured_of(self.judged, self._validation, found.rates, convention, seed=self.recipe.seed)
                test_accuracy = evaluate(self.judged, self._test, self._glance, partial(self._on_judged, "test"))
            result = {
                "validation_accuracy": self.log[-1].validation_accuracy,
                "test_accuracy": test_accuracy,
                "test_images": self._test_images,
                "measured": asdict(measured),
                "log": [asdict(line) for line in self.log],
                "duration_s": self._duration_s(),
                "machine": machine(self.fabric),
            }
            (self.folder / RECIPE).write_text(self.recipe.to_toml(), encoding="utf-8")
            checkpoint.save(self.folder / WEIGHTS, self.judged.state_dict(), {**self.identity, "training": result})
            (self.folder / RESUME).unlink(missing_ok=True)
        self.fabric.barrier()

    def save(self) -> None:
        """Keep the whole state, or the one before it where that fails."""
        if not self.fabric.is_global_zero:
            return
        tensors = dict(self.network.state_dict())
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise RuntimeError(f"the weights are no numbers any more after {self._step} steps; {self._remedy()}")
        for index, values in self._plain.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{name}": value for name, value in values.items()})
        if self._average is not None:
            tensors.update({f"ema.{name}": value for name, value in self._average.state_dict().items()})
        description = {
            **self.identity,
            "log": [asdict(line) for line in self.log],
            "batch": self._batch,
            "step": self._step,
            "losses": self._losses,
            "duration_s": self._duration_s(),
            "scaler": self._scaler.state_dict() if self._scaler is not None else {},
        }
        checkpoint.save(self.folder / RESUME, tensors, description)

    def _order(self, epoch: int) -> Tensor:
        """The training images of an epoch, shuffled by the seed and the epoch alone."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        return self._train.chosen[torch.randperm(len(self._train), generator=generator)]

    def _share(self, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """This process's part of each batch; of one that is too small for all, each takes what there is."""
        for indices in batches:
            part = indices[self.fabric.global_rank :: self.fabric.world_size]
            yield part if len(indices) >= self.fabric.world_size else indices

    def _forward_backward(self, epoch: int, batch: int, pixels: Tensor, labels: Tensor, parts: int) -> Tensor:
        """The loss [] of one batch, whose gradient is added up as one of `parts`."""
        recipe, mix = self.recipe, self.recipe.mixes_at(epoch)

        def make() -> tuple[Tensor, Tensor]:
            return self._augment.inputs(self._train.fit(pixels, self._augment.pixels), labels, mix=mix)

        place = repr((recipe.seed, epoch, batch, self.fabric.global_rank)).encode()
        draws = int.from_bytes(hashlib.sha256(place).digest()[:8], "big") >> 1
        inputs, targets = seeded(draws, make, self.fabric.device)
        loss = loss_of(self.model(inputs, every_step=recipe.loss == TET), targets, recipe)
        self.fabric.backward(loss / parts)
        return loss.detach()

    def _order_channels(self, order: torch.memory_format) -> None:
        self.network.stem.to(memory_format=order)  # type: ignore[call-overload]
        for parameter in self.network.stem.parameters():
            state = self._plain.state[parameter]
            # The fused optimizer reads weight and state side by side in memory, and wrongly where their orders differ.
            state.update({field: value.to(memory_format=order) for field, value in state.items() if value.dim() == 4})

    def _take_step(self, steps: int) -> None:
        recipe = self.recipe
        for group in self._plain.param_groups:
            group["lr"] = recipe.lr_at(self._step, steps)
        if recipe.clip_norm:
            self.fabric.clip_gradients(self.model, self._optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        if self._average is not None:
            decay = min(recipe.ema_decay, (1 + self._step) / (EMA_WARMUP + self._step))
            torch._foreach_lerp_(list(self._average.parameters()), list(self.network.parameters()), 1 - decay)

    def _look(self, epoch: int, fresh: list[Tensor]) -> None:
        """Take the losses over. RuntimeError where one is no number: the state that was kept is then from before it."""
        values = torch.stack(fresh).tolist() if fresh else []
        fresh.clear()
        for index, value in enumerate(values, self._batch - len(values)):
            if not math.isfinite(value):
                raise RuntimeError(f"the loss is {value} at epoch {epoch + 1}, step {index + 1}; {self._remedy()}")
        self._losses += values

    def _remedy(self) -> str:
        kept = self.folder / RESUME
        left = f"the last good weights are in {kept}; " if kept.exists() else ""
        return f"{left}lower --lr, now {self.recipe.lr:g}, or set clip_norm in a recipe, in another folder (-o)"

    def _recalibrate(self) -> None:
        """Set the running statistics to the plain mean over a few batches: during training they lag behind."""
        images = self._train.chosen[:RECALIBRATION_IMAGES].split(max(2, self._glance // 2))
        recalibrate(self.judged, (self._train.fit(pixels) for pixels, _ in self._train.raw(images)))

    def _duration_s(self) -> float:
        return self._before_s + time.monotonic() - self._start


def loss_of(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """The loss [] of logits [B, classes], or [T, B, classes] for TET; targets are labels [B] or shares [B, classes].

    TET (Deng et al., ICLR 2022, arXiv 2202.11946): (1 - lambda) mean_t CE(o_t, y) + lambda mean_t MSE(o_t, 1).
    """
    if recipe.loss != TET:
        return F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    every = torch.cat([targets] * len(logits))
    entropy = F.cross_entropy(logits.flatten(0, 1), every, label_smoothing=recipe.label_smoothing)
    return (1 - recipe.tet_lambda) * entropy + recipe.tet_lambda * (logits - 1).square().mean()


def machine(fabric: Fabric) -> str:
    """What a training ran on, in words."""
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    return name if fabric.world_size == 1 else f"{fabric.world_size} x {name}"


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; biases, normalisation and the neurons' scalars do not decay, which would pull each tau to 2."""
    parameters = list(network.parameters())
    matrices, others = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Gradients that are scaled cannot be clipped for a fused optimizer, which would unscale them itself.
    fused = not (recipe.precision == "16-mixed" and recipe.clip_norm)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)


@contextlib.contextmanager
def _memory(recipe: Recipe, folder: Path) -> Iterator[None]:
    """RuntimeError with the batch size to try where memory is short."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and not re.search("can't allocate memory|ALLOC_FAILED", str(error)):
            raise
        size, parts = recipe.batch_size, recipe.accumulate
        if size == 1:
            raise RuntimeError("out of memory with one image a batch; train a smaller network") from None
        elsewhere = ", in another folder (-o)" if (folder / RESUME).exists() else ""
        raise RuntimeError(
            f"out of memory with {size} images a batch; try --batch-size {size // 2} --accumulate {2 * parts}{elsewhere}"
        ) from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """`folder`, made if need be, for this process alone. ValueError where another one trains in it."""
    checkpoint.make_folder(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place = f"another process trains in {folder}"
            raise ValueError(f"{place}; wait for it, or choose another folder with -o") from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _scalars(folder: Path, *, wanted: bool) -> Iterator[Callable[[Epoch], None]]:
    """Write the lines of the log for TensorBoard, where that is `wanted`."""
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


def _resume(
    path: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> dict[str, Any]:
    """Put the state of an interrupted training back; returns what is no tensor of it."""
    if not path.exists():
        return {"log": [], "batch": 0, "step": 0, "losses": [], "duration_s": 0.0, "scaler": {}}
    tensors, info = _load(path, identity)
    network.load_state_dict(checkpoint.weights_of(tensors))
    if average is not None:
        average.load_state_dict({k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return info


def _completed(path: Path, identity: dict[str, Any], convention: Convention) -> Trained:
    _, info = _load(path, identity)
    try:
        training = info["training"]
        measured = Measured(**training["measured"])
        log = tuple(Epoch(**entry) for entry in training["log"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is of another version of autost-optuna ({error}); choose another folder with -o"
        ) from None
    if measured.convention != convention.label:
        raise ValueError(
            f"{path} has its energy under {measured.convention}, not {convention.label}; choose another folder with -o"
        )
    return Trained(
        path=path,
        validation_accuracy=training["validation_accuracy"],
        test_accuracy=training["test_accuracy"],
        measured=measured,
        log=log,
        duration_s=training["duration_s"],
        machine=training["machine"],
        test_images=training.get("test_images"),  # 0.1.0 looked at all of them
    )


def _load(path: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a training. ValueError where it is another one, with the first difference, or damaged."""
    try:
        tensors, info = checkpoint.load(path)
    except ValueError as error:
        reason = str(error).partition("; ")[0]
        raise ValueError(f"{reason}; delete it to train from the start, or choose another folder with -o") from None
    if not identity.keys() <= info.keys():
        raise ValueError(f"{path} holds no training; choose another folder with -o")
    for name, asked in identity["recipe"].items():
        there = info["recipe"].get(name)
        if there != asked:
            raise ValueError(f"{path} was trained with {name} {there}, not {asked}; choose another folder with -o")
    for name, what in (
        ("architecture", "another architecture"),
        ("task", "another task"),
        ("data", "another data set"),
        ("data_fingerprint", f"other images of {identity['data']}"),
    ):
        if info[name] != identity[name]:
            raise ValueError(f"{path} holds a training of {what}; choose another folder with -o")
    return tensors, info
