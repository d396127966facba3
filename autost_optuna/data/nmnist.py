"""N-MNIST (Orchard et al. 2015): recordings of an event camera that moves before digits.

A file holds 5-byte events: x, y, then one bit of polarity (1 where brightness rises) and 23 bits of microseconds.
"""

import functools
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import COUNTS, Dataset, Pixels, content, damaged, on_demand, recordings
from autost_optuna.data.events import Cut, Events, Recorded, gather

FOLDER = "nmnist/extract"
SIDE = 34
EVENT_BYTES = 5
CLOCK_MARK = 240  # in place of y, in some recordings: the clock overflowed, and no pixel fired
CLOCK_STEP = 2**13  # microseconds for such a mark, as in the authors' own reader
SOURCE = "Train.zip and Test.zip from https://www.garrickorchard.com/datasets/n-mnist"


def load(root: Path, time_steps: int, cut: Cut) -> Recorded:
    """The recordings in `root`/nmnist/extract, or in `root` if it is one of these folders; each is read on demand."""
    folder = _folder(root)
    train, test = (_found(folder / name) for name in ("Train", "Test"))
    make = functools.partial(_read_all, time_steps, cut)
    dataset = Dataset(
        name="nmnist",
        train=on_demand(train, make),
        test=on_demand(test, make),
        num_classes=10,
        normalisation=COUNTS,
    )
    return Recorded(
        dataset=dataset,
        folder=folder,
        train_files=[path for path, _ in train],
        test_files=[path for path, _ in test],
    )


def read(path: Path, time_steps: int, cut: Cut = "count") -> Pixels:
    """The counts of events in a recording [T, 2, 34, 34]: channel 0 where brightness falls, 1 where it rises.

    ValueError if the file is empty, truncated or not a recording of 34x34 pixels.
    """
    import numpy as np

    stored = content(path)
    if len(stored) % EVENT_BYTES:
        raise _damaged(path, f"{len(stored)} bytes are not events of {EVENT_BYTES}")
    raw = np.frombuffer(stored, np.uint8).reshape(-1, EVENT_BYTES)
    seen = raw[:, 1] != CLOCK_MARK
    time = _times(raw, ~seen)[seen] if cut == "time" else None  # not needed by count
    raw = raw[seen]
    try:
        counts = gather(Events(x=raw[:, 0], y=raw[:, 1], polarity=raw[:, 2] >> 7, time=time), time_steps, cut, SIDE)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if counts.max() > 255:
        raise _damaged(path, f"a pixel has {counts.max()} events in one frame")
    frames: Pixels = counts.astype(np.uint8)
    return frames


def _times(raw: Any, marks: Any) -> Any:
    """Microseconds [n] of events [n, 5], corrected for overflows of the clock."""
    import numpy as np

    high, middle, low = (raw[:, column].astype(np.int64) for column in (2, 3, 4))
    return ((high & 127) << 16 | middle << 8 | low) + CLOCK_STEP * np.cumsum(marks)


def _folder(root: Path) -> Path:
    """The folder that holds Train and Test."""
    for folder in (root / FOLDER, root / "extract", root):
        if (folder / "Train").is_dir() and (folder / "Test").is_dir():
            return folder
    raise ValueError(
        f"no N-MNIST recordings in {root}; download {SOURCE} by hand, unpack both into DIR/{FOLDER} "
        "(as Train/0/00002.bin), and give DIR as --data-root"
    )


def _found(folder: Path) -> list[tuple[Path, int]]:
    """The recordings of a split and their classes. ValueError names a class without recordings."""
    found = []
    for label in range(10):
        paths = recordings(folder / str(label), ".bin")
        if not paths:
            raise ValueError(
                f"class {label} has no recordings such as 00002.bin in {folder / str(label)}; download {SOURCE} and "
                "unpack them again"
            )
        found += [(path, label) for path in paths]
    return found


def _read_all(time_steps: int, cut: Cut, paths: Any) -> Pixels:
    import numpy as np

    frames = np.empty((len(paths), time_steps, 2, SIDE, SIDE), np.uint8)
    for index, path in enumerate(paths):
        frames[index] = read(path, time_steps, cut)
    return frames


def _damaged(path: Path, reason: str) -> ValueError:
    return damaged(path, "N-MNIST recording", reason, SOURCE)
