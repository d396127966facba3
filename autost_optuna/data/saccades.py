"""Simulated events: the built-in digits before an event camera that moves as N-MNIST's did. No real camera is involved.

The digits, enlarged to 24x24 of 34x34 pixels (and in proportion for a larger camera), move along three saccades that form a
triangle. A pixel fires once for every 3 grey levels by which its brightness has changed since it last fired. All values are
whole numbers, so that every machine makes the same events: positions in half pixels, and brightness in fractions of a grey
level, as many as a digit's pixel covers half pixels. The simulation ignores noise and the logarithm of light.
"""

import functools
from typing import Any

from autost_optuna.data import digits
from autost_optuna.data.dataset import COUNTS, Dataset, OnDemand, Pixels, Split

SIDE = 34
ENLARGED = 3
MOVES = 3  # moves whose events make one frame
CORNERS = ((-6, -4), (0, 8), (6, -4), (-6, -4))  # x and y of the triangle, in half pixels
THRESHOLD = 3  # of a digit's 16 grey levels: with 10 frames 3,550 events per digit, where N-MNIST has 4,150


def load(time_steps: int, side: int = SIDE) -> Dataset:
    """The digits as recordings [n, T, 2, side, side], each made on demand; the split is that of the digits."""
    still = digits.load()

    def moved(split: Split) -> Split:
        return Split(
            images=OnDemand(sources=split.images, make=functools.partial(record, time_steps, side=side)),
            labels=split.labels,
        )

    return Dataset(
        name="digits-saccades",
        train=moved(still.train),
        test=moved(still.test),
        num_classes=still.num_classes,
        normalisation=COUNTS,
    )


def record(time_steps: int, images: Pixels, side: int = SIDE) -> Pixels:
    """Digits [n, 1, 8, 8] to counts of events [n, T, 2, side, side]: channel 0 where brightness falls, 1 where it rises."""
    import numpy as np

    moves, enlarged = MOVES * time_steps, _enlarged(side)
    saccade = np.linspace(0, 3, moves + 1)
    places = [
        np.rint(np.interp(saccade, range(4), axis) * enlarged / ENLARGED).astype(int)
        for axis in zip(*CORNERS, strict=True)
    ]
    threshold = THRESHOLD * (2 * enlarged) ** 2
    frames = np.zeros((len(images), time_steps, 2, side, side), np.uint8)
    known = view(images, places[0][0], places[1][0], side)  # the brightness at which each pixel last fired
    for move in range(moves):
        fired = np.trunc((view(images, places[0][move + 1], places[1][move + 1], side) - known) / threshold)
        known += fired * threshold
        frames[:, move // MOVES, 0] += np.maximum(-fired, 0).astype(np.uint8)
        frames[:, move // MOVES, 1] += np.maximum(fired, 0).astype(np.uint8)
    return frames


def view(images: Pixels, x: int, y: int, side: int = SIDE) -> Any:
    """Brightness [n, side, side] of digits [n, 1, 8, 8] whose centre is `x`, `y` half pixels from the camera's.

    It is bilinear between a digit's pixels and dark around the digit. Values are whole numbers, 36 per grey level with 34x34
    pixels, which float32 adds exactly.
    """
    return _spread(y, side) @ images[:, 0].astype("float32") @ _spread(x, side).T


def _enlarged(side: int) -> int:
    """How many of the camera's pixels one pixel of a digit covers in each direction."""
    return max(ENLARGED * side // SIDE, 1)


def _spread(offset: int, side: int) -> Any:
    """[side, 8]: the weight of each row of a digit in each row of the camera, in as many parts as it covers half pixels."""
    import numpy as np

    enlarged = _enlarged(side)
    row = 2 * np.arange(side) + 1 - side - offset  # in half pixels from the digit's centre
    centre = enlarged * (2 * np.arange(8) - 7)
    return np.maximum(2 * enlarged - abs(row[:, None] - centre), 0).astype(np.float32)
