"""Events of an event camera, gathered into T frames of counts.

By count, all frames take the same number of events, and the last also takes the remainder. Events are in the order of their
arrival, so times are not read: a clock that wraps or stutters changes nothing. By time, all frames take the same number of
microseconds between the first event and the last, and the last also takes the remainder; a frame may be empty. Both are
common practice (SpikingJelly's `integrate_events_by_fixed_frames_number`, with which the tests compare them).
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
    """n events in order of arrival: pixels x and y [n], polarity [n] (1 where brightness rises), and times [n] in us.

    `invalid` counts the events that the recording marks as invalid; they are left out.
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
    """A data set whose recordings are read on demand, the folder that holds them, and each split's files."""

    dataset: Dataset
    folder: Path
    train_files: Sequence[Path]
    test_files: Sequence[Path]


def gather(events: Events, time_steps: int, cut: Cut, side: int) -> Any:
    """Counts of events [T, 2, side, side]: channel 0 where brightness falls, 1 where it rises.

    ValueError with only the reason if there are too few, one is outside the camera, or the clock goes back.
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
    """The frame [n] of each event: count // T events per frame, and the remainder in the last."""
    import numpy as np

    return np.minimum(np.arange(count) // (count // time_steps), time_steps - 1)


def by_time(time: Any, time_steps: int) -> Any:
    """The frame [n] of each event: duration // T microseconds per frame, and the remainder in the last.

    An event whose time goes back by at most one frame goes into the frame of its time; ValueError if it goes back further.
    """
    import numpy as np

    span = max(int(time.max() - time.min()) // time_steps, 1)
    back = int((np.maximum.accumulate(time) - time).max())
    if back > span:
        raise ValueError(f"its clock goes back by {back} us, more than a frame of {span} us; cut by count")
    return np.minimum((time - time.min()) // span, time_steps - 1)


def saturated(counts: Any) -> Pixels:
    """Counts as bytes; 255 stands for 255 or more, which only a flickering or broken pixel reaches in one frame."""
    import numpy as np

    pixels: Pixels = np.minimum(counts, 255).astype(np.uint8)
    return pixels
