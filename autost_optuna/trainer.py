"""Recipe and train(): a network of the front, trained from its weights at initialisation, on a validation split."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from autost_optuna import checkpoint
from autost_optuna.architecture import Architecture, as_count
from autost_optuna.checkpoint import WEIGHTS
from autost_optuna.data import Dataset, Split, fit
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.task import Task

RESUME = "resume.safetensors"
EVAL_BATCH = 250
RECALIBRATION_BATCHES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is trained: AdamW, a linear warm-up, then a cosine from `lr` to `min_lr`; no augmentation yet.

    `validation_share` of the training set is held out by `seed`; the test set is looked at once, at the end.
    """

    epochs: int = 10
    batch_size: int = 64
    lr: float = 2e-3
    min_lr: float = 1e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.06
    label_smoothing: float = 0.1
    validation_share: float = 0.1
    seed: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        as_count("epochs", self.epochs)
        as_count("batch_size", self.batch_size)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr {self.lr} is not positive and finite; use 2e-3")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share {self.validation_share} is not between 0 and 1; use 0.1")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step `step` of `steps`."""
        warmup = max(1, round(self.warmup_share * steps))
        if step < warmup:
            return self.min_lr + (self.lr - self.min_lr) * (step + 1) / warmup
        turn = math.pi * (step - warmup) / max(1, steps - warmup)
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(turn)) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One line of the training log: mean loss, accuracy on the validation split, images a second while training."""

    epoch: int
    loss: float
    validation_accuracy: float
    images_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What training found: accuracies after the last epoch, measured once each, and the log."""

    path: Path
    validation_accuracy: float
    test_accuracy: float
    log: tuple[Epoch, ...]


def train(
    architecture: Architecture,
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    accelerator: str = "auto",
    on_batch: Callable[[int, int, int], None] = lambda epoch, batch, batches: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train a network and write `folder`/model.safetensors, weights and description.

    After each epoch the whole state is kept in `folder`/resume.safetensors, from which the same call goes on; a call whose
    training is complete returns its result. ValueError where the folder holds another training.
    """
    if dataset.num_classes != task.num_classes:
        raise ValueError(
            f"data {dataset.name} has {dataset.num_classes} classes, task {task.name} {task.num_classes}; "
            "train on the task's own data"
        )
    identity = {
        "architecture": architecture.to_dict(),
        "task": asdict(task),
        "data": dataset.name,
        "recipe": asdict(recipe),
    }
    if (folder / WEIGHTS).exists():
        return _completed(folder / WEIGHTS, identity)
    checkpoint.make_folder(folder)
    parts = _splits(dataset, task, recipe)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=recipe.precision)  # type: ignore[arg-type]
    torch.manual_seed(recipe.seed)
    network = SpikingTransformer(architecture, task, seed=recipe.seed)
    plain = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    model, optimizer = fabric.setup(network, plain)
    # Once the weights are on the device: the optimizer's state goes where they are.
    log = _resume(folder / RESUME, identity, network, plain)
    batches = math.ceil(len(parts.train_labels) / recipe.batch_size)
    for epoch in range(len(log), recipe.epochs):
        start, losses = time.monotonic(), []
        model.train()
        for step, (images, labels) in enumerate(_shuffled(parts, recipe, epoch)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_at(epoch * batches + step, recipe.epochs * batches)
            logits = model(images.to(fabric.device))
            loss = F.cross_entropy(logits, labels.to(fabric.device), label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise RuntimeError(f"the loss is {loss.item()} at epoch {epoch + 1}, step {step + 1}; lower the rate")
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
            on_batch(epoch, step + 1, batches)
        took = time.monotonic() - start
        recalibrate(network, parts.train, recipe.batch_size)
        line = Epoch(
            epoch=epoch + 1,
            loss=float(torch.stack(losses).mean()),
            validation_accuracy=evaluate(network, parts.validation, parts.validation_labels),
            images_per_s=len(parts.train_labels) / took,
        )
        log.append(line)
        on_epoch(line)
        description = {**identity, "log": [asdict(entry) for entry in log]}
        checkpoint.save(folder / RESUME, _state(network, plain), description)
    result = {
        "validation_accuracy": log[-1].validation_accuracy,
        "test_accuracy": evaluate(network, parts.test, parts.test_labels),
        "log": [asdict(entry) for entry in log],
    }
    checkpoint.save(folder / WEIGHTS, network.state_dict(), {**identity, "training": result})
    (folder / RESUME).unlink()
    return _completed(folder / WEIGHTS, identity)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """The three splits as the network reads them."""

    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    test: Tensor
    test_labels: Tensor


def _splits(dataset: Dataset, task: Task, recipe: Recipe) -> _Parts:
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(len(dataset.train.labels), generator=generator).numpy()
    held = max(1, round(recipe.validation_share * len(order)))

    def part(split: Split, chosen: Any) -> tuple[Tensor, Tensor]:
        return fit(split.images[chosen], dataset.normalisation, task), torch.from_numpy(split.labels[chosen])

    train, train_labels = part(dataset.train, order[held:])
    validation, validation_labels = part(dataset.train, order[:held])
    test, test_labels = part(dataset.test, slice(None))
    return _Parts(
        train=train,
        train_labels=train_labels,
        validation=validation,
        validation_labels=validation_labels,
        test=test,
        test_labels=test_labels,
    )


def _shuffled(parts: _Parts, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch; their order depends on the seed and the epoch alone, so that a resumed run repeats it."""
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    for chosen in torch.randperm(len(parts.train_labels), generator=generator).split(recipe.batch_size):
        yield parts.train[chosen], parts.train_labels[chosen]


def recalibrate(network: nn.Module, images: Tensor, batch_size: int) -> None:
    """Set the running statistics to the plain mean over a few training batches: during training they lag behind."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    device = next(network.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for batch in itertools.islice(images.split(batch_size), RECALIBRATION_BATCHES):
            network(batch.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Accuracy of the network in eval mode on `images` [n, c, H, W] with `labels` [n]."""
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        logits = torch.cat([network(batch.to(device)).cpu() for batch in images.split(EVAL_BATCH)])
    return float((logits.argmax(1) == labels).to(torch.float64).mean())


def _state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, and the optimizer's tensors as optimizer.<index of the weight>.<name>."""
    tensors = dict(network.state_dict())
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": value for name, value in values.items()})
    return tensors


def _resume(path: Path, identity: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Epoch]:
    """Put the state of an interrupted training back; returns its log, empty where there is none."""
    if not path.exists():
        return []
    tensors, info = checkpoint.load(path)
    _check_identity(path, info, identity)
    network.load_state_dict(checkpoint.weights_of(tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return [Epoch(**entry) for entry in info["log"]]


def _completed(path: Path, identity: dict[str, Any]) -> Trained:
    _, info = checkpoint.load(path)
    _check_identity(path, info, identity)
    training = info["training"]
    return Trained(
        path=path,
        validation_accuracy=training["validation_accuracy"],
        test_accuracy=training["test_accuracy"],
        log=tuple(Epoch(**entry) for entry in training["log"]),
    )


def _check_identity(path: Path, info: dict[str, Any], identity: dict[str, Any]) -> None:
    """ValueError where `path` holds another training than the one asked for, with the first difference."""
    if info["recipe"] != identity["recipe"]:
        for field in fields(Recipe):
            there, asked = info["recipe"].get(field.name), identity["recipe"][field.name]
            if there != asked:
                raise ValueError(
                    f"{path} was trained with {field.name} {there}, not {asked}; choose another folder with -o"
                )
    for name in ("architecture", "task", "data"):
        if info[name] != identity[name]:
            raise ValueError(f"{path} holds a training of another {name}; choose another folder with -o")
