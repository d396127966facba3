"""Named items of the Pareto plot: limits, baselines, picks and widths, as traces and as labels to place."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREEN, INK, PURPLE, escape
from autost_optuna.delivery.plots.frame import XY, Edge, Frame
from autost_optuna.delivery.plots.labels import Room, Spot, place_labels, spots
from autost_optuna.delivery.plots.points import Places, at, title_of
from autost_optuna.search.exact import Found

if TYPE_CHECKING:
    import plotly.graph_objects as go

TRIED = 40  # most members of a width to try for its label
LONGEST = 24  # most characters of a name in a label; longer names are cut
BASELINES = "baselines"
MARKER = 14  # pixels of the point that a label avoids
# Sides of a point for its label, the best first. Nothing beats a member, so there is room above and to the left of it.
BY_MEMBER = ("top left", "bottom right", "middle right", "top right", "middle left", "bottom left")
BY_BASELINE = ("bottom right", "top right", "bottom left", "top left")
BY_EDGE = ("middle right", "middle left", "bottom center", "top center", *BY_BASELINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Baselines of one architecture: a point with their names and hover text.

    `sizes_of` names the published networks with its sizes, which are different networks.
    """

    names: tuple[str, ...]
    energy_mj: float
    flops: int
    lines: tuple[str, ...]
    sizes_of: str = ""
    short: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Labels with the same style, and the possible spots of each; shown and hidden with a `group` of the legend."""

    labels: list[list[Spot]]
    colour: str = INK
    group: str | None = None


def labels_placed(named: Iterable[Names], room: Room) -> "Iterator[go.Scatter]":
    """The labels that find room; earlier ones have priority (see `place_labels`)."""
    import plotly.graph_objects as go

    groups = list(named)
    found = iter(place_labels(room, [label for names in groups for label in names.labels]))
    for names in groups:
        some = [spot for spot in (next(found) for _ in names.labels) if spot is not None]
        if some:
            yield go.Scatter(
                name="",
                legendgroup=names.group,
                showlegend=False,
                x=[spot.at[0] for spot in some],
                y=[spot.at[1] for spot in some],
                mode="markers+text",
                marker={"size": MARKER, "opacity": 0},  # keeps the text off the point there
                text=["<br>".join(map(escape, spot.lines)) for spot in some],
                textposition=[spot.side for spot in some],
                textfont={"size": 12, "color": names.colour},
                cliponaxis=False,
                hoverinfo="skip",
            )


def limit_line(limit: str, energy_mj: float, frame: Frame) -> "go.Scatter":
    """A line at an energy, from the bottom to the top of the frame."""
    import plotly.graph_objects as go

    return go.Scatter(
        name=_limit(limit, energy_mj),
        legendgroup=limit,
        x=[energy_mj, energy_mj],
        y=[frame.at((0, end))[1] for end in (0, 1)],
        mode="lines",
        line={"color": GREEN, "width": 1.5, "dash": "8px,4px"},
        hoverinfo="name",
    )


def limit_name(limit: str, energy_mj: float, frame: Frame) -> Names:
    """The name of a limit, at the top of its line or else at the bottom."""
    (_, floor), (_, roof) = frame.at((0, 0)), frame.at((0, 1))
    said = [_limit(limit, energy_mj)]
    above = spots(said, (energy_mj, roof), "bottom right", "bottom left")
    return Names(labels=[above + spots(said, (energy_mj, floor), "top right", "top left")], group=limit)


def _limit(limit: str, energy_mj: float) -> str:
    return f"{limit} {energy_mj:g} mJ"


def diamonds(marks: Sequence[Mark], every: Sequence[Mark]) -> "go.Scatter":
    """Baselines inside the frame; the legend's only entry also speaks for `every` baseline outside."""
    traced = _baselines([*map(at, marks)], [_lines(mark) for mark in marks], ["diamond"] * len(marks))
    return traced.update(name=BASELINES + _remark(every))


def arrows(found: Sequence[Edge], marks: Sequence[Mark], *, alone: bool) -> "go.Scatter":
    """Triangles at the edge that point to baselines outside; in the legend if they are `alone`."""
    lines = ["<br>".join(_lines(marks[place]) for place in edge.places) for edge in found]
    traced = _baselines([edge.at for edge in found], lines, [edge.symbol for edge in found])
    return traced.update(name="baselines outside the plot" + _remark(marks), showlegend=alone)


def _remark(marks: Sequence[Mark]) -> str:
    """The legend's remark on published networks, because a printed figure has no hover text."""
    return " (published networks: others, several times cheaper)" if any(mark.sizes_of for mark in marks) else ""


def _baselines(points: Sequence[XY], lines: Sequence[str], symbols: Sequence[str]) -> "go.Scatter":
    import plotly.graph_objects as go

    return go.Scatter(
        name=BASELINES,
        legendgroup=BASELINES,
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        marker={"color": PURPLE, "size": 11, "symbol": symbols, "line": {"color": INK, "width": 1}},
        cliponaxis=False,
        customdata=lines,
        hovertemplate="%{customdata}<extra></extra>",
    )


def _lines(mark: Mark) -> str:
    """The hover text."""
    return "<br>".join([f"<b>{escape(', '.join(mark.names))}</b>", *(escape(line) for line in mark.lines)])


def baseline_names(marks: Sequence[Mark]) -> Names:
    """The names of baselines inside the frame."""
    return Names(labels=[spots(_label(mark), at(mark), *BY_BASELINE) for mark in marks], group=BASELINES)


def outside_names(found: Sequence[Edge], marks: Sequence[Mark]) -> Names:
    """Names and figures of the baselines outside."""
    return Names(labels=[_outside([marks[place] for place in edge.places], edge.at) for edge in found], group=BASELINES)


def _outside(marks: Sequence[Mark], place: XY) -> list[Spot]:
    figures = [f"{units.energy(mark.energy_mj)}, {units.count(mark.flops, 'FLOPs')}" for mark in marks]
    lines = [f"{', '.join(_label(mark))}: {said}" for mark, said in zip(marks, figures, strict=True)]
    in_two = [*_label(marks[0]), *figures] if len(marks) == 1 else lines
    return [spot for said in (lines, in_two) for spot in spots(said, place, *BY_EDGE)]


def _label(mark: Mark) -> list[str]:
    """The lines of a label: names; an architecture in words appears without its blocks."""
    return [(mark.short if "=" in name else name)[:LONGEST] for name in mark.names[:3]]


def pick_names(picks: Sequence[Found], prefix: str = "", places: Places | None = None) -> Names:
    """Trial, or place in the exact front, width and depth of picks, in one line or two."""
    return Names(labels=[_pick(pick, f"{prefix}{title_of(pick, places)}") for pick in picks])


def _pick(pick: Found, title: str) -> list[Spot]:
    lines = [line for line in (title, pick.architecture.in_words(blocks=False)) if line]
    first, *others = BY_MEMBER
    return [
        spot
        for sides in ((first,), others)
        for said in ([", ".join(lines)], lines)
        for spot in spots(said, at(pick), *sides)
    ]


def width_names(members: Sequence[Found]) -> Names:
    """For each width of a front, a label at one of its members, preferably the middle one."""
    labels = []
    for width in sorted({member.architecture.embed_dim for member in members}):
        cluster = [at(member) for member in members if member.architecture.embed_dim == width]
        order = sorted(range(len(cluster)), key=lambda place: abs(2 * place + 1 - len(cluster)))
        some = order[:: math.ceil(len(order) / TRIED)]
        where = [(side, cluster[place]) for side in BY_MEMBER for place in some]
        labels.append([spot for side, place in where for spot in spots([f"C {width}"], place, side)])
    return Names(labels=labels, colour=BLUE)
