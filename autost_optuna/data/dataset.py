"""Dataset: images and labels, split into training and test, with the constants that normalise them."""

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
    """Images [n, ...] that `make` makes of an array of n sources when they are asked for, by index or slice."""

    sources: Any
    make: Callable[[Any], Pixels]

    def __getitem__(self, chosen: Any) -> Pixels:
        return self.make(self.sources[chosen])


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images [n, c, H, W], or recordings [n, T, c, H, W], as they are stored, and their classes [n]."""

    images: Pixels | OnDemand
    labels: Labels


def on_demand(found: Sequence[tuple[Any, int]], make: Callable[[Any], Pixels]) -> Split:
    """A split of sources and their classes, each image of which `make` makes when it is asked for."""
    import numpy as np

    sources = np.empty(len(found), object)
    sources[:] = [source for source, _ in found]
    return Split(
        images=OnDemand(sources=sources, make=make), labels=np.array([label for _, label in found], dtype=np.int64)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """A stored pixel becomes the network's input as (pixel / scale - mean) / std, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


SEEN = 16  # images of a split that a fingerprint takes
COUNTS = Normalisation(scale=1.0, mean=(0.0, 0.0), std=(1.0, 1.0))  # event counts stay as they are


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A classification data set."""

    name: str
    train: Split
    test: Split
    num_classes: int
    normalisation: Normalisation

    def fingerprint(self) -> str:
        """16 hex digits of all labels and of some images of both splits, evenly spaced: other images have others."""
        import numpy as np

        digest = hashlib.sha256(self.name.encode())
        for split in (self.train, self.test):
            digest.update(split.labels.tobytes())
            some = np.unique(np.linspace(0, len(split.labels) - 1, SEEN).round().astype(np.int64))
            digest.update(np.ascontiguousarray(split.images[some]).tobytes())
        return digest.hexdigest()[:16]


def content(path: Path) -> bytes:
    """All bytes of a data set's file. ValueError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None


def text_lines(path: Path) -> list[str]:
    """The lines of a text file without the spaces around them, in UTF-8 or, where its first bytes say so, in UTF-16."""
    stored = content(path)
    encoding = "utf-16" if stored.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return [line.strip() for line in stored.decode(encoding, "replace").splitlines()]


def visible(folder: Path) -> list[Path]:
    """What is in a folder, by name, without what is hidden. ValueError if it cannot be read."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not hidden(name)]
    except OSError as error:
        raise ValueError(f"cannot read {folder} ({error.strerror}); check --data-root") from None


def recordings(folder: Path, ending: str) -> list[Path]:
    """The files in a folder that end so, in capitals or not, by name; none if there is no such folder."""
    return [path for path in visible(folder) if path.suffix.lower() == ending] if folder.is_dir() else []


def hidden(name: str) -> bool:
    """Whether a file or folder is a system's own: .DS_Store, the ._name that macOS writes beside name, thumbnails."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def reason_of(error: Exception) -> str:
    """What a library's error says, in one short line."""
    return one_line(str(error))[:160] or type(error).__name__


def damaged(path: Path, kind: str, reason: str, source: str) -> ValueError:
    """The error for a file that is not what its data set's layout says."""
    return ValueError(f"{kind} {path} cannot be read: {one_line(reason)}; download {source} again")
