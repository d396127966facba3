"""A training's folder: the training's identity, its state while it runs, and its result."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.data import Dataset
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.training import checkpoint
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.evaluation import Measured
from autost_optuna.training.recipe import Recipe

RESUME = "resume.safetensors"
RECIPE = "recipe.toml"


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """A training stopped on request, and saved its state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One line of the log: mean loss, accuracy on the validation split, mean spike rate there, images per second."""

    epoch: int
    loss: float
    validation_accuracy: float
    mean_rate: float
    lr: float
    images_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of a training: accuracies after the last epoch, measured once each, energy, log, and effort.

    The test accuracy uses `test_images` of the test set, or all if None.
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
        """Images per second in training, the median over epochs."""
        return sorted(line.images_per_s for line in self.log)[len(self.log) // 2]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is to be trained: a network, for a task, on data, by a recipe."""

    architecture: Architecture
    task: Task
    dataset: Dataset
    recipe: Recipe

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes it from other trainings, as it is stored with the weights."""
        return {
            "architecture": self.architecture.to_dict(),
            "task": asdict(self.task),
            "data": self.dataset.name,
            "data_fingerprint": self.dataset.fingerprint(),
            "recipe": self.recipe.to_dict(),
        }


def check_folder(folder: Path, identity: dict[str, Any]) -> None:
    """ValueError if `folder` holds another training, or a damaged one."""
    for path in (folder / WEIGHTS, folder / RESUME):
        if path.exists():
            _load(path, identity)
            return


def log_of(folder: Path, identity: dict[str, Any]) -> tuple[Epoch, ...]:
    """The epochs of the training in `folder` so far, ended or not. ValueError as in `check_folder`."""
    for path in (folder / WEIGHTS, folder / RESUME):
        if path.exists():
            _, info = _load(path, identity)
            return tuple(Epoch(**entry) for entry in info.get("training", info)["log"])
    return ()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Reserve `folder`, made if necessary, for this process. ValueError if another process trains in it."""
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


def resume(
    path: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> dict[str, Any]:
    """Restore the state of an interrupted training; returns its parts that are not tensors."""
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


def completed(path: Path, identity: dict[str, Any], convention: Convention) -> Result:
    """The result of the complete training at `path`. ValueError if it belongs to another training or is damaged."""
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
    return Result(
        path=path,
        validation_accuracy=training["validation_accuracy"],
        test_accuracy=training["test_accuracy"],
        measured=measured,
        log=log,
        duration_s=training["duration_s"],
        machine=training["machine"],
        test_images=training.get("test_images"),  # 0.1.0 used all of them
    )


def _load(path: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a training. ValueError if it is damaged, or another one, with the first difference."""
    try:
        tensors, info = checkpoint.load(path)
    except ValueError as error:
        reason = str(error).partition("; ")[0]
        raise ValueError(f"{reason}; delete it to train from the start, or choose another folder with -o") from None
    if not identity.keys() <= info.keys():
        raise ValueError(f"{path} does not hold a training; choose another folder with -o")
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
