"""Candidates as points: how they are drawn, their hover text, the finding of a front, and thinning of a cloud."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from autost_optuna import units
from autost_optuna.delivery.plots.figure import GREEN, INK, escape
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.picks import knee
from autost_optuna.network.architecture import Architecture
from autost_optuna.proxies.goals import GOALS
from autost_optuna.search.exact import ExactFront, Found, Member

if TYPE_CHECKING:
    import plotly.graph_objects as go

BUDGET = "budget"  # the name of the limit from --max-energy
MOST = 5000  # most dominated candidates drawn; more hide each other, and make a page large and slow


Places = Mapping[Architecture, int]  # of members in the exact front, counted from 1


def title_of(point: Found, places: Places | None = None) -> str:
    """Its trial, or its place in the exact front: "trial 7", "member 7", or "" if it has neither."""
    if places:
        return f"member {places[point.architecture]}"
    return "" if point.number is None else f"trial {point.number}"


def finding(members: Sequence[Found], budget_mj: float | None = None, places: Places | None = None) -> str:
    """The finding of a front of FLOPs and energy in one line: its knee, or the most FLOPs that a budget buys, if any."""
    affordable = [member for member in members if budget_mj is not None and member.energy_mj <= budget_mj]
    chosen = affordable[-1] if affordable else knee(members)
    what = ", ".join(filter(None, (title_of(chosen, places), chosen.architecture.in_words(blocks=False))))
    figures = f"{units.count(chosen.flops, 'FLOPs')} for {units.energy(chosen.energy_mj)} per image"
    if affordable:
        return f"{budget_mj:g} mJ per image buys at most {units.count(chosen.flops, 'FLOPs')} ({what})"
    return f"the {'knee' if len(members) > 1 else 'only member'} gives {figures} ({what})"


class Priced(Protocol):
    """Anything with a place in the plot: a candidate, a member of the exact front, a mark of baselines."""

    @property
    def energy_mj(self) -> float:
        """Energy in mJ per image."""

    @property
    def flops(self) -> int:
        """FLOPs per image."""


def at(point: Priced) -> tuple[float, float]:
    """The place of a point: mJ and GFLOPs."""
    return point.energy_mj, point.flops / 1e9


def details(candidate: Candidate) -> list[str]:
    """What `hover` shows of a candidate: trial, architecture, the range of its energy over images, parameters, scores."""
    spread = candidate.spread
    return [
        "-" if candidate.number is None else str(candidate.number),
        candidate.architecture.in_words(),
        f"{units.energy(spread.low_mj)} to {units.energy(spread.high_mj)}{candidate.remark}",
        "".join([units.parameters(candidate.params), *(f", {GOALS[n].label} {v:.4g}" for n, v in candidate.scores)]),
    ]


def member_details(member: Member, place: int) -> list[str]:
    """What `hover` shows of a member of the exact front: its place, architecture and parameters."""
    return [str(place), member.architecture.in_words(), units.parameters(member.params)]


def hover(study: str, *, exact: bool = False) -> str:
    """plotly's template for the hover text of a study's candidate at (mJ, GFLOPs), from its `details`.

    If `exact`, of a member of its exact front, from its `member_details`.
    """
    export = literal(units.command("export", study))
    if exact:
        return (
            "<b>member %{customdata[0]}</b>: %{customdata[1]}<br>%{x:.4g} mJ, %{y:.4g} GFLOPs, %{customdata[2]}<br>"
            f"{export} --exact %{{customdata[0]}} -o member-%{{customdata[0]}}<extra></extra>"
        )
    command = _export(export, "%{customdata[0]}")
    return (
        "<b>trial %{customdata[0]}</b>: %{customdata[1]}<br>%{x:.4g} mJ (%{customdata[2]}), %{y:.4g} GFLOPs, "
        "%{customdata[3]}<br>"
        f"{command}<extra></extra>"
    )


def export_command(study: str, number: int | str) -> str:
    """The command that exports a trial's network."""
    return _export(units.command("export", study), str(number))


def _export(command: str, number: str) -> str:
    return f"{command} --trial {number} -o trial-{number}"


def literal(text: str) -> str:
    """Text escaped for plotly's templates."""
    return escape(text).replace("%", "&#37;")


def drawn(study: str, name: str, points: Sequence[Found], places: Places | None = None, **style: Any) -> "go.Scatter":
    """Candidates of a study at (mJ, GFLOPs) as a trace with that name.

    With `places`, members of its exact front, which have these places.
    """
    import plotly.graph_objects as go

    return go.Scatter(
        name=name,
        x=[c.energy_mj for c in points],
        y=[c.flops / 1e9 for c in points],
        customdata=[
            member_details(c, (places or {})[c.architecture]) if isinstance(c, Member) else details(c) for c in points
        ],
        hovertemplate=hover(study, exact=bool(places)),
        **style,
    )


def exact_line(exact: ExactFront) -> "go.Scatter":
    """The exact front as a line behind the searched one."""
    import plotly.graph_objects as go

    return go.Scatter(
        name=f"exact front ({exact.basis})",
        x=[m.energy_mj for m in exact.members],
        y=[m.flops / 1e9 for m in exact.members],
        mode="lines",
        line={"color": INK, "width": 1.2, "dash": "4px,3px", "shape": "hv"},
        customdata=[
            "<br>".join(
                (
                    f"<b>exact front</b>: {m.architecture.in_words()}",
                    f"{units.energy(m.energy_mj)}, {units.count(m.flops, 'FLOPs')}, {units.parameters(m.params)}",
                )
            )
            for m in exact.members
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def quantised_points(study: str, members: Sequence[Candidate]) -> "list[go.Scatter]":
    """Each member's network without spikes in 8-bit integers, tied to the member; it stands at the same FLOPs of T steps."""
    import plotly.graph_objects as go

    ties = go.Scatter(
        name="",
        x=[x for c in members for x in (c.quantised_mj, c.energy_mj, None)],
        y=[y for c in members for y in (c.flops / 1e9, c.flops / 1e9, None)],
        mode="lines",
        line={"color": GREEN, "width": 0.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    points = go.Scatter(
        name="without spikes, 8 bits",
        x=[c.quantised_mj for c in members],
        y=[c.flops / 1e9 for c in members],
        mode="markers",
        marker={"color": GREEN, "size": 6, "symbol": "diamond-open"},
        customdata=[details(c) for c in members],
        hovertemplate=f"<b>without spikes, one pass of 8-bit MACs</b><br>{hover(study)}",
    )
    return [ties, points]


def thin(candidates: Sequence[Candidate], most: int = MOST) -> tuple[Candidate, ...]:
    """At most `most` candidates that represent all: those on the cloud's hull, and evenly spaced others by energy.

    Their order does not matter, unless two have equal figures.
    """
    if len(candidates) <= most:
        return tuple(candidates)
    ordered = sorted(candidates, key=lambda c: (c.energy_mj, c.flops))
    kept = set(hull([(math.log(c.energy_mj), math.log(c.flops)) for c in ordered]))
    others = [place for place in range(len(ordered)) if place not in kept]
    room = max(most - len(kept), 0)
    kept.update(others[turn * len(others) // room] for turn in range(room))
    return tuple(ordered[place] for place in sorted(kept))


def hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the convex hull's corners in points sorted by x, then y (Andrew 1979, monotone chain)."""
    corners: list[int] = []
    for places in (range(len(points)), range(len(points) - 1, -1, -1)):
        chain: list[int] = []
        for place in places:
            while len(chain) > 1 and _turn(points[chain[-2]], points[chain[-1]], points[place]) <= 0:
                chain.pop()
            chain.append(place)
        corners += chain
    return corners


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Positive if a, b, c turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
