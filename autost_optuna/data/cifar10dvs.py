"""CIFAR10-DVS (Li et al. 2017): CIFAR-10 images that move on a screen before a DVS128 camera, 1,000 recordings per class.

The files are `<class>/*.aedat`, AEDAT 2.0. There is no official split. As is usual, the first nine tenths of each class, in
the order of their names, are for training and the rest for test. A count over 255 in a frame is stored as 255.
"""

import functools
from pathlib import Path
from typing import Any

from autost_optuna import units
from autost_optuna.data import aedat
from autost_optuna.data.dataset import COUNTS, Dataset, Pixels, content, damaged, on_demand, recordings
from autost_optuna.data.events import Cut, Events, Recorded, gather, saturated

FOLDER = "cifar10dvs"
SIDE = 128
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOURCE = (
    "the ten archives (airplane.zip to truck.zip) from https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
)


def load(root: Path, time_steps: int, cut: Cut) -> Recorded:
    """The recordings in `root`/cifar10dvs or its folder extract, or in `root` if it is one of these; each is read on demand."""
    folder = _folder(root)
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, name in enumerate(CLASSES):
        paths = recordings(folder / name, ".aedat")
        share = -(-9 * len(paths) // 10)
        if share == len(paths):
            has = f"has {units.counted(len(paths), 'recording')} such as cifar10_{name}_0.aedat, too few to split"
            if not paths:
                only_4 = recordings(folder / name, ".aedat4")
                has = "has only AEDAT 4, which is not read" if only_4 else "has no recordings"
            raise ValueError(f"class {name} in {folder} {has}; download {SOURCE}, in AEDAT 2.0, and unpack them again")
        train += [(path, label) for path in paths[:share]]
        test += [(path, label) for path in paths[share:]]
    make = functools.partial(_read_all, time_steps, cut)
    dataset = Dataset(
        name="cifar10dvs",
        train=on_demand(train, make),
        test=on_demand(test, make),
        num_classes=len(CLASSES),
        normalisation=COUNTS,
    )
    return Recorded(
        dataset=dataset,
        folder=folder,
        train_files=[path for path, _ in train],
        test_files=[path for path, _ in test],
    )


def read(path: Path) -> Events:
    """The events of a recording, upright as in SpikingJelly: the camera lay on its side. Bit 0 is 0 where brightness rises.

    An address has x in bits 1 to 7 and y in bits 8 to 14. ValueError if the file is not a whole recording of a DVS128.
    """
    stored = content(path)
    try:
        address, time = aedat.addresses(stored)
        if (address >> 16).any():
            raise ValueError(f"the address {address[(address >> 16) > 0][0]:#x} is outside {SIDE}x{SIDE} pixels")
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    seen = address & aedat.EXTERNAL == 0
    address, time = address[seen], time[seen]
    last = SIDE - 1
    return Events(x=last - (address >> 8 & last), y=last - (address >> 1 & last), polarity=1 - (address & 1), time=time)


def _folder(root: Path) -> Path:
    """The folder that holds the classes."""
    for folder in (root / FOLDER / "extract", root / FOLDER, root / "extract", root):
        if all((folder / name).is_dir() for name in CLASSES):
            return folder
    raise ValueError(
        f"no CIFAR10-DVS recordings in {root}; download {SOURCE} by hand, unpack all into DIR/{FOLDER} "
        "(as airplane/cifar10_airplane_0.aedat), and give DIR as --data-root"
    )


def _read_all(time_steps: int, cut: Cut, paths: Any) -> Pixels:
    import numpy as np

    frames = np.empty((len(paths), time_steps, 2, SIDE, SIDE), np.uint8)
    for index, path in enumerate(paths):
        events = read(path)
        try:
            frames[index] = saturated(gather(events, time_steps, cut, SIDE))
        except ValueError as error:
            raise _damaged(path, str(error)) from None
    return frames


def _damaged(path: Path, reason: str) -> ValueError:
    return damaged(path, "CIFAR10-DVS recording", reason, SOURCE)
