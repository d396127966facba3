"""Images and recordings for rates and for training: built in, or read from the public layouts of CIFAR-10 and N-MNIST."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autost_optuna.architecture import as_count
from autost_optuna.data import cifar10, digits, nmnist, saccades
from autost_optuna.data.dataset import COUNTS, Dataset, Normalisation, Pixels, Split
from autost_optuna.task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NAMES", "NORMALISATIONS", "Dataset", "Normalisation", "RateImages", "Split", "fit", "load", "rate_images"]

IMAGES = {"digits": digits.NORMALISATION, "cifar10": cifar10.NORMALISATION}
RECORDINGS = {"digits-saccades": COUNTS, "nmnist": COUNTS}
NORMALISATIONS = {**IMAGES, **RECORDINGS}
NAMES = tuple(NORMALISATIONS)


def load(name: str, task: Task, root: Path | None = None) -> Dataset:
    """The data set called `name`, recordings in frames of the task's time steps; CIFAR-10 and N-MNIST lie under `root`.

    ValueError says what is missing and where it comes from, or that the task reads recordings and these are images.
    """
    if name not in NAMES:
        raise ValueError(f"no data {name!r}; choose one of {', '.join(NAMES)}")
    readable = RECORDINGS if task.events else IMAGES
    if name not in readable:
        read, held = ("recordings", "images") if task.events else ("images", "recordings")
        raise ValueError(f"task {task.name} reads {read}, data {name} holds {held}; choose {' or '.join(readable)}")
    if name == "digits":
        return digits.load()
    if name == "digits-saccades":
        return saccades.load(task.time_steps)
    if root is None:
        folder = cifar10.FOLDER if name == "cifar10" else nmnist.FOLDER
        raise ValueError(f"data {name} needs --data-root, the folder that holds {folder}")
    return cifar10.load(root) if name == "cifar10" else nmnist.load(root, task.time_steps)


def fit(
    pixels: "Pixels | Tensor",
    normalisation: Normalisation,
    task: Task,
    augment: "Callable[[Tensor], Tensor] | None" = None,
) -> "Tensor":
    """Images [B, *task.input_shape] as the task's network reads them: normalised float32 of its channels and size.

    `augment` changes them in their own size and channels, as values from 0 to 1, or as counts of events.

    Grey images are repeated over the channels, coloured ones averaged to one; sizes change by bilinear interpolation.
    Recordings are as they are, ValueError where they do not fit: counts of events cannot be resized.
    """
    import torch
    import torch.nn.functional as F

    if task.events or pixels.ndim == 5:
        task.check_images(pixels.shape)
    x = torch.as_tensor(pixels).float() / normalisation.scale
    if augment is not None:
        x = augment(x)
    mean = torch.tensor(normalisation.mean, device=x.device).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std, device=x.device).view(1, -1, 1, 1)
    x = (x - mean) / std
    if x.shape[-3] != task.channels:
        x = x.mean(1, keepdim=True).expand(-1, task.channels, -1, -1)
    if x.shape[-2:] != (task.image_size, task.image_size):
        size = (task.image_size, task.image_size)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return x.contiguous()


@dataclass(frozen=True, kw_only=True, slots=True)
class RateImages:
    """The images that rates are measured on: normalised [B, *task.input_shape], their source, a fingerprint of their pixels."""

    images: "Tensor"
    data: str
    fingerprint: str


def rate_images(
    task: Task,
    *,
    data: str = "digits",
    root: Path | None = None,
    count: int = 4,
    seeds: int = 1,
    seed: int = 0,
    split: Literal["train", "test"] = "train",
) -> RateImages:
    """`count` images for each of `seeds` seeds, of the data set's `split`, drawn without repeats by `seed`.

    ValueError where the data set has not so many, or is not what the task's network reads.
    """
    import numpy as np

    as_count("seeds", seeds)
    if not 0 <= seed <= seed + seeds - 1 < 2**32:
        raise ValueError(f"seed {seed + seeds - 1 if seed >= 0 else seed} is out of range; use 0 to 4294967295")
    dataset = load(data, task, root)
    part = dataset.train if split == "train" else dataset.test
    if not 1 <= count <= len(part.labels) // seeds:
        each = "" if seeds == 1 else f" for each of {seeds} seeds"
        raise ValueError(f"images {count}{each} is out of range; {data} has 1 to {len(part.labels) // seeds}{each}")
    chosen = np.random.default_rng(seed).permutation(len(part.labels))[: count * seeds]
    pixels = part.images[chosen]
    fingerprint = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]
    return RateImages(images=fit(pixels, dataset.normalisation, task), data=data, fingerprint=fingerprint)
