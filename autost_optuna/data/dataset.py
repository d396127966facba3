"""Dataset: images and labels, split into training and test, with the constants that normalise them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """A stored pixel becomes the network's input as (pixel / scale - mean) / std, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


COUNTS = Normalisation(scale=1.0, mean=(0.0, 0.0), std=(1.0, 1.0))  # event counts stay as they are


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A classification data set."""

    name: str
    train: Split
    test: Split
    num_classes: int
    normalisation: Normalisation
