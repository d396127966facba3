"""Images and recordings for rates and training: built in, or read from the public layouts of known data sets."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autost_optuna.data import cache as frame_cache
from autost_optuna.data import cifar, cifar10dvs, digits, dvs128gesture, imagefolder, nmnist, saccades
from autost_optuna.data.dataset import COUNTS, Dataset, Normalisation, OnDemand, Pixels, Split
from autost_optuna.data.events import CUTS, Cut, Recorded
from autost_optuna.moved import regrouped
from autost_optuna.network.task import PRESETS, Task
from autost_optuna.network.values import as_count
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BUILT_IN",
    "NAMES",
    "NORMALISATIONS",
    "Cut",
    "Dataset",
    "Normalisation",
    "OnDemand",
    "Preparation",
    "RateImages",
    "Sample",
    "Split",
    "check_classes",
    "fit",
    "load",
    "own_data",
    "rate_images",
    "stand_in_warning",
]

IMAGES = {
    "digits": digits.NORMALISATION,
    **{name: release.normalisation for name, release in cifar.RELEASES.items()},
    "imagefolder": imagefolder.NORMALISATION,
}
RECORDINGS = dict.fromkeys(("digits-saccades", "nmnist", "cifar10dvs", "dvs128gesture"), COUNTS)
NORMALISATIONS = {**IMAGES, **RECORDINGS}
NAMES = tuple(NORMALISATIONS)
BUILT_IN = ("digits", "digits-saccades")


def own_data(task: Task) -> str:
    """The data set that holds a task's own classes: the one that its name begins with, or else a folder of images."""
    name = task.name.partition("-")[0] if task.events and task.name not in NAMES else task.name
    return name if name in (RECORDINGS if task.events else IMAGES) else "imagefolder"


def stand_in_warning(data: str, task: Task) -> str | None:
    """The warning that rates on `data` come from another task's images, with the remedy; None if the images are its own.

    A task's own images are the data set with its name or a folder of images. A task that is not a preset may also use a
    data set with the same number of classes, and the built-in digits in their own size.
    """
    own, known = own_data(task), PRESETS.get(data)
    resized = known is not None and not task.events and known.image_size != task.image_size
    fits = known is not None and known.num_classes == task.num_classes and not (data in BUILT_IN and resized)
    brought = data not in NAMES  # by the user's program, which knows what they are
    if brought or data in (own, "imagefolder") or (fits and task.name not in PRESETS):
        return None
    made = ", simulated" if data == "digits-saccades" else ""
    if known is not None and resized:
        made = ", scaled up" if known.image_size < task.image_size else ", scaled down"
    readable, held = (RECORDINGS, "recordings") if task.events else (IMAGES, "images")
    option = f"--data {own if own in readable else 'NAME'} --data-root DIR"
    return f"rates for {task.name} are measured on {data}{made}; give {option} for its own {held}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What is done to the files of a data set before they are used.

    With `download`, CIFAR-10 and CIFAR-100 are fetched if they are missing; the others cannot be fetched by a program.
    With `cache`, all recordings are cut into frames once, which are kept in files; without it, each recording is read when
    it is used. `on_frames` is called with the split, the number of recordings done and their total.
    """

    download: bool = False
    cache: bool = True
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None


KEPT = Preparation()


@regrouped(preparation=Preparation)
def load(
    name: str,
    task: Task,
    root: StrPath | None = None,
    *,
    frames: Cut = "count",
    preparation: Preparation = KEPT,
) -> Dataset:
    """The data set called `name`, as the task reads it. Data that is not built in lies under `root`.

    Recordings are cut into the task's T frames by count or by time (simulated ones have frames of equal time).
    ValueError names what is missing and where to get it, or says that the task reads recordings and these are images.
    """
    if name not in NAMES:
        raise ValueError(f"no data {name!r}; choose one of {', '.join(NAMES)}")
    if frames not in CUTS:
        raise ValueError(f"frames by {frames!r} are unknown; use {' or '.join(CUTS)}")
    if frames != "count" and not task.events:
        raise ValueError(f"task {task.name} reads images, and frames by {frames} are of recordings; leave it out")
    readable = RECORDINGS if task.events else IMAGES
    if name not in readable:
        read, held = ("recordings", "images") if task.events else ("images", "recordings")
        raise ValueError(f"task {task.name} reads {read}, data {name} holds {held}; choose {' or '.join(readable)}")
    if name == "digits":
        return digits.load()
    if name == "digits-saccades":
        if frames != "count":
            raise ValueError("data digits-saccades is simulated, in frames of equal time already; leave frames out")
        return saccades.load(task.time_steps, task.image_size)
    root = None if root is None else Path(root)
    if root is None:
        raise ValueError(f"data {name} needs --data-root, the folder that holds {_held(name)}")
    if name in cifar.RELEASES:
        return cifar.load(cifar.RELEASES[name], root, download=preparation.download)
    if name == "imagefolder":
        return imagefolder.load(root, task.image_size)
    recorded, side = _recorded(name, root, task.time_steps, frames)
    task.check_recordings((1, task.time_steps, 2, side, side))
    if not preparation.cache:
        return recorded.dataset
    return frame_cache.keep_frames(recorded, task.time_steps, frames, side, preparation.on_frames)


def _held(name: str) -> str:
    """A description of what the folder of a data set holds."""
    folders = {
        "imagefolder": "train and test",
        "nmnist": nmnist.FOLDER,
        "cifar10dvs": cifar10dvs.FOLDER,
        "dvs128gesture": dvs128gesture.FOLDER,
    }
    return cifar.RELEASES[name].folder if name in cifar.RELEASES else folders[name]


def _recorded(name: str, root: Path, time_steps: int, frames: Cut) -> tuple[Recorded, int]:
    """Recordings in files, and the side of their camera in pixels."""
    if name == "nmnist":
        return nmnist.load(root, time_steps, frames), nmnist.SIDE
    if name == "cifar10dvs":
        return cifar10dvs.load(root, time_steps, frames), cifar10dvs.SIDE
    return dvs128gesture.load(root, time_steps, frames), dvs128gesture.SIDE


def fit(
    pixels: "Pixels | Tensor",
    normalisation: Normalisation,
    task: Task,
    augment: "Callable[[Tensor], Tensor] | None" = None,
) -> "Tensor":
    """Images [B, *task.input_shape] as the task's network reads them: normalised float32 of its channels and size.

    `augment` changes them in their own size and channels, as values from 0 to 1, or as counts of events.

    Grey images are repeated over the channels, colour images averaged to one channel, and sizes changed by bilinear
    interpolation. Recordings are counts of events, which are added up where the task has fewer pixels or a third channel;
    ValueError if they do not fit.
    """
    import torch
    import torch.nn.functional as F

    if task.events or pixels.ndim == 5:
        task.check_recordings(pixels.shape)
    x = torch.as_tensor(pixels).float() / normalisation.scale
    if augment is not None:
        x = augment(x)
    mean = torch.tensor(normalisation.mean, device=x.device).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std, device=x.device).view(1, -1, 1, 1)
    x = (x - mean) / std
    if task.events:
        return _added_up(x, task).contiguous()
    if x.shape[-3] != task.channels:
        x = x.mean(1, keepdim=True).expand(-1, task.channels, -1, -1)
    if x.shape[-2:] != (task.image_size, task.image_size):
        size = (task.image_size, task.image_size)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return x.contiguous()


def _added_up(counts: "Tensor", task: Task) -> "Tensor":
    """Counts of events [B, T, 2, side, side] on the pixels of the task, with their sum if it has a third channel."""
    import torch
    import torch.nn.functional as F

    cell = counts.shape[-1] // task.image_size
    if cell > 1:
        counts = F.avg_pool2d(counts.flatten(0, 1), cell, divisor_override=1).unflatten(0, counts.shape[:2])
    return counts if task.channels == 2 else torch.cat([counts, counts.sum(2, keepdim=True)], 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Which images rates are measured on: `images` for each of `seeds` seeds, drawn from a data set by `seed`, the first.

    A network with the weights of a seed sees that seed's images. `data_root` is the folder of data that is not
    built in. Recordings are cut into `frames` of equal "count" or "time". The images are put on `device`. ValueError if a
    seed is out of range.
    """

    data: str = "digits"
    data_root: StrPath | None = None
    images: int = 4
    seed: int = 0
    seeds: int = 1
    frames: Cut = "count"
    device: str = "cpu"

    def __post_init__(self) -> None:
        last = self.seed + as_count("seeds", self.seeds) - 1
        if not 0 <= self.seed <= last < 2**32:
            raise ValueError(f"seed {last if self.seed >= 0 else self.seed} is out of range; use 0 to 4294967295")


FOUR_DIGITS = Sample()


@dataclass(frozen=True, kw_only=True, slots=True)
class RateImages:
    """The images for measuring rates: normalised [B, *task.input_shape], their source, and a fingerprint of their pixels.

    `labels` [B] are their classes, out of `num_classes`; None if unknown.
    """

    images: "Tensor"
    data: str
    fingerprint: str
    labels: "Tensor | None" = None
    num_classes: int | None = None


def check_classes(found: RateImages, task: Task) -> None:
    """ValueError if the task's own images have another number of classes, so that no network of the task can train on them."""
    if found.num_classes in (None, task.num_classes) or stand_in_warning(found.data, task) is not None:
        return
    raise ValueError(
        f"data {found.data} has {found.num_classes} classes, task {task.name} {task.num_classes}; give a task of "
        f"{found.num_classes} classes (--task FILE.toml, such as examples/my_task.toml)"
    )


def rate_images(task: Task, sample: Sample = FOUR_DIGITS, *, split: Literal["train", "test"] = "train") -> RateImages:
    """The images of a sample, from the training or test images of its data set, without repeats; only these are read.

    ValueError if the data set has too few, or does not fit the task's network.
    """
    import numpy as np
    import torch

    data, seeds, count = sample.data, sample.seeds, sample.images
    dataset = load(data, task, sample.data_root, frames=sample.frames, preparation=Preparation(cache=False))
    part = dataset.train if split == "train" else dataset.test
    if not 1 <= count <= len(part.labels) // seeds:
        each = "" if seeds == 1 else f" for each of {seeds} seeds"
        raise ValueError(f"images {count}{each} is out of range; {data} has 1 to {len(part.labels) // seeds}{each}")
    chosen = np.random.default_rng(sample.seed).permutation(len(part.labels))[: count * seeds]
    pixels = part.images[chosen]
    fingerprint = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]
    return RateImages(
        images=fit(pixels, dataset.normalisation, task).to(sample.device),
        data=data,
        fingerprint=fingerprint,
        labels=torch.as_tensor(part.labels[chosen], device=sample.device),
        num_classes=dataset.num_classes,
    )
