"""Place labels in a frame: they cover no other label, no mark, and as few points of a cloud as possible."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from autost_optuna.delivery.plots.frame import XY, Frame
from autost_optuna.ranks import Floats

# Shares of the axes in a figure 700 px wide: a character and a line of a label, its distance from its point, half a marker,
# and how far a label may stand over the end of an axis.
CHARACTER, LINE, GAP, HALF, OVER = 0.0118, 0.045, 0.016, 0.007, 0.012
Box = tuple[float, float, float, float]  # left, low, right and high end, in shares of the axes


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A possible place of a label: its lines, its point, and the side of the point."""

    lines: tuple[str, ...]
    at: XY
    side: str

    def box(self, frame: Frame, letters: float = 1.0) -> Box:
        """The area that the label covers in a frame, with `letters` the size of letters relative to a page."""
        x, y = frame.share(self.at)
        width, height = letters * CHARACTER * max(map(len, self.lines)), letters * LINE * len(self.lines)
        gap = letters * GAP
        vertical, horizontal = self.side.split()
        left = {"left": x - gap - width, "center": x - width / 2, "right": x + gap}[horizontal]
        low = {"bottom": y - gap - height, "middle": y - height / 2, "top": y + gap}[vertical]
        return left, low, left + width, low + height


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """The room for labels: within `frame`, off the points of `hard`, and off those of `soft` as far as possible."""

    frame: Frame
    hard: Sequence[XY]
    soft: Sequence[XY] = ()
    letters: float = 1.0


def spots(lines: Sequence[str], at: XY, *sides: str) -> list[Spot]:
    """A spot on each side of a point, in the order of preference."""
    return [Spot(lines=tuple(lines), at=at, side=side) for side in sides]


def steps(members: Sequence[XY], frame: Frame) -> list[XY]:
    """Points along the line from member to member, right and then up, spaced by the width of a marker."""
    found = list(members)
    for (x, y), (end, top) in pairwise(members):
        for start, goal in (((x, y), (end, y)), ((end, y), (end, top))):
            first, last = frame.share(start), frame.share(goal)
            parts = math.ceil(max(abs(b - a) for a, b in zip(first, last, strict=True)) / HALF)
            found += [frame.at(_between(first, last, part / parts)) for part in range(1, parts)]
    return found


def _between(first: XY, last: XY, share: float) -> XY:
    return first[0] + share * (last[0] - first[0]), first[1] + share * (last[1] - first[1])


def place_labels(room: Room, labels: Sequence[Sequence[Spot]]) -> list[Spot | None]:
    """For each label, a spot that covers no earlier label and no hard point, or None if there is none.

    Among these, it is the first that covers the fewest soft points. Labels stay in the frame.
    """
    avoided, unwelcome = _shares(room.frame, room.hard), _shares(room.frame, room.soft)
    taken: list[Box] = []
    chosen: list[Spot | None] = []
    for label in labels:
        best: tuple[int, Spot, Box] | None = None
        for spot in label:
            box = spot.box(room.frame, room.letters)
            if not _fits(box, taken) or _covered(avoided, box):
                continue
            cost = _covered(unwelcome, box)
            if best is None or cost < best[0]:
                best = cost, spot, box
        chosen.append(None if best is None else best[1])
        taken += [] if best is None else [best[2]]
    return chosen


def _fits(box: Box, taken: Sequence[Box]) -> bool:
    left, low, right, high = box
    inside = min(left, low) >= -OVER and max(right, high) <= 1 + OVER
    return inside and all(right <= a or c <= left or high <= b or d <= low for a, b, c, d in taken)


def _shares(frame: Frame, points: Sequence[XY]) -> Floats:
    """The places of points on the axes, one row each."""
    decades: Floats = np.log10(np.array(points, dtype=float).reshape(-1, 2))
    return (decades - frame.low) / (np.array(frame.high) - frame.low)


def _covered(points: Floats, box: Box) -> int:
    """How many points a box covers."""
    left, low, right, high = box
    x, y = points.T
    return int(((x > left - HALF) & (x < right + HALF) & (y > low - HALF) & (y < high + HALF)).sum())
