"""Dataset: images and labels, split into training and test, with their normalisation constants."""

import codecs
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna.units import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Labels = NDArray[np.int64]
else:
    Pixels = Labels = object


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDemand:
    """Images [n, ...] that `make` produces on demand from an array of n sources, by index or slice."""

    sources: Any
    make: Callable[[Any], Pixels]

    def __getitem__(self, chosen: Any) -> Pixels:
        return self.make(self.sources[chosen])


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images [n, c, H, W] or recordings [n, T, c, H, W], as stored, and their classes [n]."""

    images: Pixels | OnDemand
    labels: Labels


def on_demand(found: Sequence[tuple[Any, int]], make: Callable[[Any], Pixels]) -> Split:
    """A split of sources and their classes; `make` produces each image on demand."""
    import numpy as np

    sources = np.empty(len(found), object)
    sources[:] = [source for source, _ in found]
    return Split(
        images=OnDemand(sources=sources, make=make), labels=np.array([label for _, label in found], dtype=np.int64)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """Turns stored pixels into the network's input: (pixel / scale - mean) / std, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


SEEN = 16  # images per split that a fingerprint reads
COUNTS = Normalisation(scale=1.0, mean=(0.0, 0.0), std=(1.0, 1.0))  # event counts are not normalised


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A classification data set."""

    name: str
    train: Split
    test: Split
    num_classes: int
    normalisation: Normalisation

    def fingerprint(self) -> str:
        """16 hex digits of all labels and of some evenly spaced images of both splits, which identify the data."""
        import numpy as np

        digest = hashlib.sha256(self.name.encode())
        for split in (self.train, self.test):
            digest.update(split.labels.tobytes())
            some = np.unique(np.linspace(0, len(split.labels) - 1, SEEN).round().astype(np.int64))
            digest.update(np.ascontiguousarray(split.images[some]).tobytes())
        return digest.hexdigest()[:16]


def content(path: Path) -> bytes:
    """The bytes of a data set's file. ValueError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None


def text_lines(path: Path) -> list[str]:
    """The stripped lines of a text file in UTF-8 or, if its first bytes say so, UTF-16."""
    stored = content(path)
    encoding = "utf-16" if stored.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return [line.strip() for line in stored.decode(encoding, "replace").splitlines()]


def visible(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden, by name. ValueError if it cannot be read."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not hidden(name)]
    except OSError as error:
        raise ValueError(f"cannot read {folder} ({error.strerror}); check --data-root") from None


def recordings(folder: Path, ending: str) -> list[Path]:
    """The files in a folder with this ending, in capitals or not, by name; none if the folder does not exist."""
    return [path for path in visible(folder) if path.suffix.lower() == ending] if folder.is_dir() else []


def hidden(name: str) -> bool:
    """Whether a file or folder belongs to an operating system: .DS_Store, macOS's ._name files, thumbnails."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def reason_of(error: Exception) -> str:
    """A library's error message as one short line."""
    return one_line(str(error))[:160] or type(error).__name__


def damaged(path: Path, kind: str, reason: str, source: str) -> ValueError:
    """The error for a file that does not match its data set's layout."""
    return ValueError(f"{kind} {path} cannot be read: {one_line(reason)}; download {source} again")
