"""Frames of recordings, kept in one file per split, so that training reads any of them quickly.

The file lies in a folder `frames` beside the data or, if that is not writable, in XDG_CACHE_HOME/autost-optuna (by default
~/.cache/autost-optuna): a plain .npy array [n, T, 2, H, W] of bytes, mapped into memory. Its name holds a fingerprint of its
sources, the sizes and modification times of all files, so that a changed recording makes a new file and the old one is
deleted. It is written under another name and then renamed; of two processes, one waits for the other. Bytes that decay on
disk are not noticed. Without room for the file, recordings are read again each time, and one warning says so.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import Dataset, OnDemand, Pixels, Split
from autost_optuna.data.events import Cut, Recorded

FORMAT = 1
FOLDER = "frames"
CHUNK = 64  # recordings held in memory while a file is written


def keep_frames(
    recorded: Recorded, time_steps: int, cut: Cut, side: int, on_frames: Callable[[str, int, int], None]
) -> Dataset:
    """The data set with all its frames in files; `on_frames` is called with the split, the number written and the total.

    ValueError if a recording is damaged.
    """
    dataset = recorded.dataset

    def kept(part: str, split: Split, files: Sequence[Path]) -> Split:
        shape = (len(split.labels), time_steps, 2, side, side)
        stem = f"{dataset.name}-{part}-{time_steps}-by-{cut}"
        name = f"{stem}.{fingerprint(recorded.folder, files, shape)}.npy"
        found = _find(split, places(recorded.folder), stem, name, shape, lambda done: on_frames(part, done, shape[0]))
        return split if found is None else replace(split, images=OnDemand(sources=found, make=_owned))

    return replace(
        dataset,
        train=kept("train", dataset.train, recorded.train_files),
        test=kept("test", dataset.test, recorded.test_files),
    )


def fingerprint(folder: Path, files: Sequence[Path], shape: tuple[int, ...]) -> str:
    """16 hex digits of the names, sizes and modification times of `files` and of the form of the frames."""
    digest = hashlib.sha256(repr((FORMAT, shape)).encode())
    for path in files:
        try:
            state = path.stat()
        except OSError as error:
            raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None
        digest.update(repr((path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def places(folder: Path) -> tuple[Path, Path]:
    """Where frames of the recordings in `folder` may lie: beside them or in the user's cache."""
    own = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return folder / FOLDER, Path(user) / "autost-optuna" / own


def _find(
    split: Split,
    candidates: Sequence[Path],
    stem: str,
    name: str,
    shape: tuple[int, ...],
    on_written: Callable[[int], None],
) -> Any:
    """The frames, mapped from the first place that has them, else from the first that can store them; None if none can."""
    for place in candidates:
        if (found := _mapped(place / name, shape)) is not None:
            return found
    reason = ""
    for place in candidates:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _alone(place / f"{stem}.lock"):
                # Another process may have written it in the meantime.
                if (found := _mapped(place / name, shape)) is None:
                    _write(split, place, stem, name, shape, on_written)
                    found = _mapped(place / name, shape)
                return found
        except OSError as error:
            reason = f"{place}: {error.strerror or error}"
    warnings.warn(f"frames cannot be kept ({reason}); recordings are read again each time, which is slow", stacklevel=4)
    return None


def _mapped(path: Path, shape: tuple[int, ...]) -> Any:
    """The array of a file, or None if it is missing or damaged."""
    import numpy as np

    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None


def _write(
    split: Split, place: Path, stem: str, name: str, shape: tuple[int, ...], on_written: Callable[[int], None]
) -> None:
    """Write the frames of a split, completely or not at all, and delete outdated ones."""
    from numpy.lib.format import write_array_header_1_0

    for left in place.glob(f"{stem}.*.part"):  # left by a process that was killed
        left.unlink(missing_ok=True)
    part = place / f"{stem}.{os.getpid()}.part"
    try:
        with part.open("wb") as file:
            write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for start in range(0, shape[0], CHUNK):
                file.write(split.images[start : start + CHUNK].tobytes())
                on_written(min(start + CHUNK, shape[0]))
        os.replace(part, place / name)
    finally:
        part.unlink(missing_ok=True)
    for old in set(place.glob(f"{stem}.*.npy")) - {place / name}:
        old.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, which ends with its process. On a file system without locks, both write the same."""
    with path.open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _owned(chosen: Any) -> Pixels:
    """Frames in memory that may be modified, unlike a slice of a mapped file."""
    import numpy as np

    pixels: Pixels = chosen if chosen.flags.writeable else np.array(chosen)
    return pixels
