"""Images for rates and for training: the built-in digits, and CIFAR-10 from its public layout."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autost_optuna.data import cifar10, digits
from autost_optuna.data.dataset import Dataset, Normalisation, Pixels, Split
from autost_optuna.task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NAMES", "NORMALISATIONS", "Dataset", "Normalisation", "RateImages", "Split", "fit", "load", "rate_images"]

NORMALISATIONS = {"digits": digits.NORMALISATION, "cifar10": cifar10.NORMALISATION}
NAMES = tuple(NORMALISATIONS)


def load(name: str, root: Path | None = None) -> Dataset:
    """The data set called `name`; CIFAR-10 lies under `root`. ValueError says what is missing and where it comes from."""
    if name == "digits":
        return digits.load()
    if name == "cifar10":
        if root is None:
            raise ValueError(f"data {name} needs --data-root, the folder that holds {cifar10.FOLDER}")
        return cifar10.load(root)
    raise ValueError(f"no data {name!r}; choose one of {', '.join(NAMES)}")


def fit(pixels: Pixels, normalisation: Normalisation, task: Task) -> "Tensor":
    """Images [B, c, H, W] as the task's network reads them: normalised float32 of its channels and size.

    Grey images are repeated over the channels, coloured ones averaged to one; sizes change by bilinear interpolation.
    """
    import torch
    import torch.nn.functional as F

    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    x = (torch.from_numpy(pixels).float() / normalisation.scale - mean) / std
    if x.shape[1] != task.channels:
        x = x.mean(1, keepdim=True).expand(-1, task.channels, -1, -1)
    if x.shape[-2:] != (task.image_size, task.image_size):
        size = (task.image_size, task.image_size)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return x.contiguous()


@dataclass(frozen=True, kw_only=True, slots=True)
class RateImages:
    """The images that rates are measured on: normalised [B, c, H, W], where they come from, a fingerprint of their pixels."""

    images: "Tensor"
    data: str
    fingerprint: str


def rate_images(
    task: Task, *, data: str = "digits", root: Path | None = None, count: int = 4, seed: int = 0
) -> RateImages:
    """`count` training images of the data set, drawn without repeats by `seed`, as the task's network reads them."""
    import numpy as np

    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is out of range; use 0 to 4294967295")
    dataset = load(data, root)
    if not 1 <= count <= len(dataset.train.labels):
        raise ValueError(f"images {count} is out of range; {data} has 1 to {len(dataset.train.labels)}")
    chosen = np.random.default_rng(seed).permutation(len(dataset.train.labels))[:count]
    pixels = dataset.train.images[chosen]
    fingerprint = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]
    return RateImages(images=fit(pixels, dataset.normalisation, task), data=data, fingerprint=fingerprint)
