"""Dataset: images and labels in memory, split into training and test, with the constants that normalise them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Labels = NDArray[np.int64]
else:
    Pixels = Labels = object


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images [n, c, H, W] as they are stored, and their classes [n]."""

    images: Pixels
    labels: Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """A stored pixel becomes the network's input as (pixel / scale - mean) / std, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A classification data set in memory."""

    name: str
    train: Split
    test: Split
    num_classes: int
    normalisation: Normalisation
