"""N-MNIST (Orchard et al. 2015): recordings of an event camera that moves before digits, as frames of event counts.

A file holds events of 5 bytes: x, y, then a bit of polarity (1 where brightness rises) and 23 bits of microseconds.
Frames are cut by count, as the field does: each of the T takes as many events as the next, the last one the remainder as
well. Events stand in the order in which they came, so times are not read: a clock that wraps or stutters changes nothing.
"""

import functools
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import COUNTS, Dataset, OnDemand, Pixels, Split

FOLDER = "nmnist/extract"
SIDE = 34
EVENT_BYTES = 5
CLOCK_MARK = 240  # as y, in some recordings of this camera: the clock ran over, and nothing was seen
SOURCE = "Train.zip and Test.zip from https://www.garrickorchard.com/datasets/n-mnist"


def load(root: Path, time_steps: int) -> Dataset:
    """The recordings in `root`/nmnist/extract, or where `root` is one of these folders; each is read when asked for."""
    folder = _folder(root)
    return Dataset(
        name="nmnist",
        train=_split(folder / "Train", time_steps),
        test=_split(folder / "Test", time_steps),
        num_classes=10,
        normalisation=COUNTS,
    )


def read(path: Path, time_steps: int) -> Pixels:
    """A recording's counts of events [T, 2, 34, 34]: channel 0 where brightness falls, 1 where it rises.

    ValueError where the file is empty, truncated or no recording of 34x34 pixels.
    """
    import numpy as np

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None
    if len(content) % EVENT_BYTES:
        raise _damaged(path, f"{len(content)} bytes are not events of {EVENT_BYTES}")
    events = np.frombuffer(content, np.uint8).reshape(-1, EVENT_BYTES)
    events = events[events[:, 1] != CLOCK_MARK]
    if len(events) < time_steps:
        raise _damaged(path, f"{len(events)} events do not fill {time_steps} frames")
    outside = events[(events[:, :2] >= SIDE).any(1)]
    if len(outside):
        raise _damaged(path, f"an event at x {outside[0, 0]}, y {outside[0, 1]} is outside {SIDE}x{SIDE} pixels")
    counts = integrate(events, time_steps)
    if counts.max() > 255:
        raise _damaged(path, f"a pixel has {counts.max()} events in one frame")
    frames: Pixels = counts.astype(np.uint8)
    return frames


def integrate(events: Any, time_steps: int) -> Any:
    """Events [n, 5] to counts [T, 2, 34, 34]: n // T events a frame, and the remainder in the last."""
    import numpy as np

    x, y, polarity = events[:, 0], events[:, 1], events[:, 2] >> 7
    frame = np.minimum(np.arange(len(events)) // (len(events) // time_steps), time_steps - 1)
    shape = (time_steps, 2, SIDE, SIDE)
    places = np.ravel_multi_index((frame, polarity, y, x), shape)
    return np.bincount(places, minlength=time_steps * 2 * SIDE * SIDE).reshape(shape)


def _folder(root: Path) -> Path:
    """The folder that holds Train and Test."""
    for folder in (root / FOLDER, root / "extract", root):
        if (folder / "Train").is_dir() and (folder / "Test").is_dir():
            return folder
    raise ValueError(
        f"no N-MNIST recordings in {root}; download {SOURCE}, unpack both into DIR/{FOLDER} "
        "(as Train/0/00002.bin), and give DIR as --data-root"
    )


def _split(folder: Path, time_steps: int) -> Split:
    import numpy as np

    found = [(path, label) for label in range(10) for path in sorted((folder / str(label)).glob("*.bin"))]
    if not found:
        raise ValueError(f"no recordings such as 0/00002.bin in {folder}; download {SOURCE} and unpack them again")
    return Split(
        images=OnDemand(sources=np.array([path for path, _ in found]), make=functools.partial(_read_all, time_steps)),
        labels=np.array([label for _, label in found], dtype=np.int64),
    )


def _read_all(time_steps: int, paths: Any) -> Pixels:
    import numpy as np

    frames = np.empty((len(paths), time_steps, 2, SIDE, SIDE), np.uint8)
    for index, path in enumerate(paths):
        frames[index] = read(path, time_steps)
    return frames


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is truncated or no N-MNIST recording ({reason}); download {SOURCE} again")
