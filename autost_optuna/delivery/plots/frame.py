"""The part of a logarithmic plane that a plot shows, and the points outside it. Arithmetic only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

XY = tuple[float, float]  # the positive coordinates of a point
# Shares of the axes: how far from the core a point is still near, the margins, and how far inside a mark at the edge stands.
REACH, MARGINS, EDGE = 0.4, (0.06, 0.09), 0.022
ROOM = 0.07  # shares of the height: a line of a label, and a gap
LEAST = 2.0  # an axis spans at least this factor, however close the points of the core lie
SYMBOLS = {
    (-1, -1): "triangle-sw",
    (-1, 0): "triangle-left",
    (-1, 1): "triangle-nw",
    (0, -1): "triangle-down",
    (0, 1): "triangle-up",
    (1, -1): "triangle-se",
    (1, 0): "triangle-right",
    (1, 1): "triangle-ne",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The ends of both axes, in decades: `low` and `high` are powers of ten of (x, y)."""

    low: XY
    high: XY

    def share(self, point: XY) -> XY:
        """The place of a point on the axes: 0 to 1 inside the frame."""
        x, y = (
            (math.log10(value) - low) / (high - low)
            for value, low, high in zip(point, self.low, self.high, strict=True)
        )
        return x, y

    def holds(self, point: XY) -> bool:
        """Whether a point lies inside."""
        return all(0 <= share <= 1 for share in self.share(point))

    def at(self, share: XY) -> XY:
        """The point at a share of each axis."""
        x, y = (10 ** (low + part * (high - low)) for part, low, high in zip(share, self.low, self.high, strict=True))
        return x, y


def frame_of(core: Sequence[XY], near: Sequence[XY] = ()) -> Frame:
    """The frame of the points in `core`, and of those in `near` within REACH times the core's width."""
    box = _box(core)
    grown = [(low - REACH * (high - low), high + REACH * (high - low)) for low, high in box]
    close = [
        point
        for point in near
        if all(low <= math.log10(value) <= high for value, (low, high) in zip(point, grown, strict=True))
    ]
    ends = [
        (low - margin * (high - low), high + margin * (high - low))
        for margin, (low, high) in zip(MARGINS, _box([*core, *close]), strict=True)
    ]
    return Frame(low=(ends[0][0], ends[1][0]), high=(ends[0][1], ends[1][1]))


def with_room(frame: Frame, points: Sequence[XY], letters: float = 1.0) -> Frame:
    """The frame with room at its bottom and top for the names of the points below and above it."""
    room = letters * ROOM * (frame.high[1] - frame.low[1])
    shares = [frame.share(point)[1] for point in points]
    low = frame.low[1] - room * any(share < 0 for share in shares)
    high = frame.high[1] + room * any(share > 1 for share in shares)
    return Frame(low=(frame.low[0], low), high=(frame.high[0], high))


def _box(points: Sequence[XY]) -> list[XY]:
    """The low and high ends of the points on each axis, in decades, at least LEAST apart."""
    found = []
    for values in zip(*points, strict=True):
        low, high = math.log10(min(values)), math.log10(max(values))
        lacking = max(math.log10(LEAST) - (high - low), 0) / 2
        found.append((low - lacking, high + lacking))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """A mark at the edge of a frame: its place, the symbol that points outside, and the points that it stands for."""

    at: XY
    symbol: str
    places: tuple[int, ...]


def edges(frame: Frame, points: Sequence[XY]) -> list[Edge]:
    """Marks for the points outside: one for all points beyond a corner, and one for points that would overlap along a side."""
    beyond: dict[tuple[int, int], list[int]] = {}
    for place, point in enumerate(points):
        x, y = ((share > 1) - (share < 0) for share in frame.share(point))
        if x or y:
            beyond.setdefault((x, y), []).append(place)
    found = []
    for (x, y), places in beyond.items():
        axis, room = (0, 0.35) if x == 0 else (1, 0.12)  # labels are wide and low
        groups: list[list[int]] = []
        for place in sorted(places, key=lambda place: points[place][axis]):
            here = frame.share(points[place])[axis]
            if groups and ((x and y) or here - frame.share(points[groups[-1][0]])[axis] < room):
                groups[-1].append(place)
            else:
                groups.append([place])
        for group in groups:
            inside = [min(max(share, EDGE), 1 - EDGE) for share in frame.share(points[group[0]])]
            found.append(Edge(at=frame.at((inside[0], inside[1])), symbol=SYMBOLS[x, y], places=tuple(group)))
    return found
