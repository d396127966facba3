"""Events of a camera that sees changes, gathered in T frames of counts.

By count, each frame takes as many events as the next, and the last one the remainder as well. Events stand in the order in
which they came, so times are not read: a clock that wraps or stutters changes nothing. By time, each frame takes as many
microseconds as the next, from the first event to the last, and the last one the remainder; a frame may be empty. Both are
the field's (SpikingJelly's `integrate_events_by_fixed_frames_number`, with which the tests compare them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from autost_optuna.data.dataset import Dataset, Pixels

Cut = Literal["count", "time"]
CUTS: tuple[Cut, ...] = get_args(Cut)


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """n events in the order in which they came: pixels x and y [n], polarity [n], 1 where brightness rises, times [n] in us.

    `invalid` counts what the recording marks as invalid, which is left out.
    """

    x: Any
    y: Any
    polarity: Any
    time: Any
    invalid: int = 0

    def between(self, start: int, end: int) -> "Events":
        """The events from `start` to before `end`, in microseconds of the recording's clock."""
        inside = (self.time >= start) & (self.time < end)
        return Events(x=self.x[inside], y=self.y[inside], polarity=self.polarity[inside], time=self.time[inside])


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A data set whose recordings are read when they are asked for, the folder that holds them, and each split's files."""

    dataset: Dataset
    folder: Path
    train_files: Sequence[Path]
    test_files: Sequence[Path]


def gather(events: Events, time_steps: int, cut: Cut, side: int) -> Any:
    """Counts of events [T, 2, side, side]: channel 0 where brightness falls, 1 where it rises.

    ValueError with the reason alone where there are too few, one is outside the camera, or the clock goes back.
    """
    import numpy as np

    least = time_steps if cut == "count" else 1
    if len(events.x) < least:
        raise ValueError(f"{len(events.x)} events do not fill {time_steps} frames")
    outside = np.flatnonzero((events.x >= side) | (events.y >= side))
    if len(outside):
        x, y = events.x[outside[0]], events.y[outside[0]]
        raise ValueError(f"an event at x {x}, y {y} is outside {side}x{side} pixels")
    frame = by_count(len(events.x), time_steps) if cut == "count" else by_time(events.time, time_steps)
    shape = (time_steps, 2, side, side)
    places = np.ravel_multi_index((frame, events.polarity, events.y, events.x), shape)
    return np.bincount(places, minlength=time_steps * 2 * side * side).reshape(shape)


def by_count(count: int, time_steps: int) -> Any:
    """The frame [n] of each event: count // T a frame, and the remainder in the last."""
    import numpy as np

    return np.minimum(np.arange(count) // (count // time_steps), time_steps - 1)


def by_time(time: Any, time_steps: int) -> Any:
    """The frame [n] of each event: duration // T microseconds a frame, and the remainder in the last.

    A time that goes back by no more than a frame is put where it belongs; ValueError if it goes back further.
    """
    import numpy as np

    span = max(int(time.max() - time.min()) // time_steps, 1)
    back = int((np.maximum.accumulate(time) - time).max())
    if back > span:
        raise ValueError(f"its clock goes back by {back} us, more than a frame of {span} us; cut by count")
    return np.minimum((time - time.min()) // span, time_steps - 1)


def saturated(counts: Any) -> Pixels:
    """Counts as bytes; 255 stands for 255 or more, which only a pixel that flickers or is broken sees in one frame."""
    import numpy as np

    pixels: Pixels = np.minimum(counts, 255).astype(np.uint8)
    return pixels
