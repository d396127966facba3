"""DVS128 Gesture (Amir et al. 2017): eleven gestures of 29 people before a DVS128 camera, several in each recording.

The files are `DvsGesture/*.aedat`, AEDAT 3.1. Beside each, a `*_labels.csv` lists the gestures with their start and end times,
by which recordings are cut into samples. `trials_to_train.txt` and `trials_to_test.txt` list the recordings of each split. A
count over 255 in a frame is stored as 255.
"""

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autost_optuna import units
from autost_optuna.data import aedat
from autost_optuna.data.dataset import COUNTS, Dataset, Pixels, content, damaged, hidden, on_demand, text_lines
from autost_optuna.data.events import Cut, Events, Recorded, gather, saturated

FOLDER = "DvsGesture"
SIDE = 128
NUM_CLASSES = 11
LABELS_HEADER = "class,startTime_usec,endTime_usec"
SOURCE = "DvsGesture.tar.gz from https://research.ibm.com/interactive/dvsgesture/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gesture:
    """A gesture with its class, 0 to 10, in a recording from `start` to before `end`, in microseconds of its clock."""

    path: Path
    label: int
    start: int
    end: int


def load(root: Path, time_steps: int, cut: Cut) -> Recorded:
    """The gestures in `root`/DvsGesture, `root`/extract/DvsGesture, or `root` if it is one of these; each is read on demand."""
    folder = _folder(root)
    train, train_files = _listed(folder / "trials_to_train.txt")
    test, test_files = _listed(folder / "trials_to_test.txt")
    make = functools.partial(_read_all, time_steps, cut, set())
    dataset = Dataset(
        name="dvs128gesture",
        train=on_demand([(gesture, gesture.label) for gesture in train], make),
        test=on_demand([(gesture, gesture.label) for gesture in test], make),
        num_classes=NUM_CLASSES,
        normalisation=COUNTS,
    )
    return Recorded(dataset=dataset, folder=folder, train_files=train_files, test_files=test_files)


def read(path: Path) -> Events:
    """All events of a recording. ValueError if the file is not a whole recording."""
    stored = content(path)
    try:
        return aedat.events(stored)
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def read_labels(path: Path, recording: Path) -> list[Gesture]:
    """The gestures that a label file cuts from `recording`. ValueError names the line that is wrong."""
    lines = text_lines(path)
    if not lines or [name.strip() for name in lines[0].split(",")] != LABELS_HEADER.split(","):
        raise damaged(path, "label file", f"its first line is not {LABELS_HEADER}", SOURCE)
    gestures = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            label, start, end = (int(part) for part in line.split(","))
        except ValueError:
            raise damaged(path, "label file", f"line {number} is not three whole numbers", SOURCE) from None
        if not 1 <= label <= NUM_CLASSES or not 0 <= start < end:
            raise damaged(path, "label file", f"line {number}, {line}, is not a gesture", SOURCE)
        gestures.append(Gesture(path=recording, label=label - 1, start=start, end=end))
    return gestures


def _folder(root: Path) -> Path:
    """The folder that holds the recordings and the lists."""
    for folder in (root / FOLDER, root / "extract" / FOLDER, root):
        if (folder / "trials_to_train.txt").is_file():
            return folder
    raise ValueError(
        f"no DVS128 Gesture recordings in {root}; download {SOURCE} by hand, unpack it into DIR "
        f"(as {FOLDER}/trials_to_train.txt), and give DIR as --data-root"
    )


def _listed(path: Path) -> tuple[list[Gesture], list[Path]]:
    """The gestures of a split, in the order of its list, and all files that they come from."""
    gestures, files = [], [path]
    for name in text_lines(path):
        if not name or hidden(Path(name).name):
            continue
        recording = path.parent / Path(name).name
        labels = recording.with_name(f"{recording.stem}_labels.csv")
        for needed in (recording, labels):
            if not needed.is_file() and recording.with_suffix(".aedat4").is_file():
                raise ValueError(
                    f"{recording.with_suffix('.aedat4')} is AEDAT 4, which is not read; download {SOURCE}, in AEDAT 3.1"
                )
            if not needed.is_file():
                raise ValueError(f"{path} lists {name}, but there is no {needed}; download {SOURCE} again")
        files += [recording, labels]
        gestures += read_labels(labels, recording)
    if not gestures:
        raise damaged(path, "list of recordings", "no gesture is in it", SOURCE)
    return gestures, files


def _read_all(time_steps: int, cut: Cut, told: set[Path], gestures: Any) -> Pixels:
    """Frames [n, T, 2, 128, 128]. One warning reports the invalid events of all recordings that are not in `told` yet."""
    import numpy as np

    frames = np.empty((len(gestures), time_steps, 2, SIDE, SIDE), np.uint8)
    recordings: dict[Path, list[int]] = {}  # read each recording once, however many of its gestures are requested
    for index, gesture in enumerate(gestures):
        recordings.setdefault(gesture.path, []).append(index)
    invalid: dict[Path, int] = {}
    for path, chosen in recordings.items():
        events = read(path)
        if events.invalid and path not in told:
            invalid[path] = events.invalid
        for index in chosen:
            start, end = gestures[index].start, gestures[index].end
            try:
                frames[index] = saturated(gather(events.between(start, end), time_steps, cut, SIDE))
            except ValueError as error:
                raise _damaged(path, f"from {start} to {end} us: {error}") from None
    if invalid:
        told.update(invalid)
        first, more = next(iter(invalid)), len(invalid) - 1
        warnings.warn(
            f"{units.counted(sum(invalid.values()), 'event')} that the recording marks as invalid are left out of {first}"
            + (f" and {units.counted(more, 'other')}" if more else ""),
            stacklevel=2,
        )
    return frames


def _damaged(path: Path, reason: str) -> ValueError:
    return damaged(path, "DVS128 Gesture recording", reason, SOURCE)
