"""Simulated events: the built-in digits before an event camera that moves as N-MNIST's did. No camera saw them.

The digits, enlarged to 24x24 of 34x34 pixels, pass along three saccades, a triangle. A pixel fires once for every
`THRESHOLD` that its brightness has changed since it fired last. All of it is whole numbers, so that every machine makes the
same events: places in half pixels, brightness in 36ths of a digit's grey level. Ignored: noise, and the logarithm of light.
"""

import functools
from typing import Any

from autost_optuna.data import digits
from autost_optuna.data.dataset import COUNTS, Dataset, OnDemand, Pixels, Split

SIDE = 34
ENLARGED = 3
MOVES = 3  # a frame gathers the events of so many moves
CORNERS = ((-6, -4), (0, 8), (6, -4), (-6, -4))  # x and y of the triangle, in half pixels
THRESHOLD = 36 * 3  # 3 of a digit's 16 grey levels: at 10 frames 3,550 events a digit, where N-MNIST has 4,150


def load(time_steps: int) -> Dataset:
    """The digits as recordings [n, T, 2, 34, 34], each made when it is asked for; split as the digits are."""
    still = digits.load()

    def moved(split: Split) -> Split:
        return Split(
            images=OnDemand(sources=split.images, make=functools.partial(record, time_steps)), labels=split.labels
        )

    return Dataset(
        name="digits-saccades",
        train=moved(still.train),
        test=moved(still.test),
        num_classes=still.num_classes,
        normalisation=COUNTS,
    )


def record(time_steps: int, images: Pixels) -> Pixels:
    """Digits [n, 1, 8, 8] to counts of events [n, T, 2, 34, 34]: channel 0 where brightness falls, 1 where it rises."""
    import numpy as np

    moves = MOVES * time_steps
    saccade = np.linspace(0, 3, moves + 1)
    places = [np.rint(np.interp(saccade, range(4), axis)).astype(int) for axis in zip(*CORNERS, strict=True)]
    frames = np.zeros((len(images), time_steps, 2, SIDE, SIDE), np.uint8)
    known = view(images, places[0][0], places[1][0])  # the brightness at which each pixel fired last
    for move in range(moves):
        fired = np.trunc((view(images, places[0][move + 1], places[1][move + 1]) - known) / THRESHOLD)
        known += fired * THRESHOLD
        frames[:, move // MOVES, 0] += np.maximum(-fired, 0).astype(np.uint8)
        frames[:, move // MOVES, 1] += np.maximum(fired, 0).astype(np.uint8)
    return frames


def view(images: Pixels, x: int, y: int) -> Any:
    """Brightness [n, 34, 34] of digits [n, 1, 8, 8] whose centre is `x`, `y` half pixels off the camera's.

    Bilinear between a digit's pixels, dark around it; times 36, so whole numbers, which float32 sums without an error.
    """
    return _spread(y) @ images[:, 0].astype("float32") @ _spread(x).T


def _spread(offset: int) -> Any:
    """[34, 8]: 6 times the weight of each of a digit's rows in each of the camera's."""
    import numpy as np

    row = 2 * np.arange(SIDE) + 1 - SIDE - offset  # in half pixels from the digit's centre
    centre = ENLARGED * (2 * np.arange(8) - 7)
    return np.maximum(2 * ENLARGED - abs(row[:, None] - centre), 0).astype(np.float32)
