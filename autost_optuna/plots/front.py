"""The Pareto plot: what is drawn (`front_view`), and how (`draw_front`)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.architecture import Architecture
from autost_optuna.baselines import Baseline, in_words
from autost_optuna.candidate import Candidate
from autost_optuna.exact import ExactFront, Member
from autost_optuna.front import in_plane, knee, part
from autost_optuna.goals import GOALS
from autost_optuna.plots.figure import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, dress, escape, shown, ticks
from autost_optuna.plots.points import MOST, details, hover, in_a_line, thin

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure

# A character and a line of a label as a share of the axes, at the size of a static figure; longer names are cut.
CHARACTER, LINE, LONGEST = 0.009, 0.04, 24


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontView:
    """What the Pareto plot shows of a search: of its `all_dominated` dominated architectures those in `dominated`.

    `members` are those of the front of FLOPs and energy, `others` are on the front by further objectives.
    """

    name: str
    title: str
    subtitle: str
    dominated: tuple[Candidate, ...]
    all_dominated: int
    members: tuple[Candidate, ...]
    others: tuple[Candidate, ...]
    knee: Candidate
    quantised: bool
    exact: ExactFront | None
    picks: tuple[Candidate, ...]
    baselines: tuple["Mark", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Baselines of one architecture: a point with their names, and the lines that a pointer sees."""

    names: tuple[str, ...]
    energy_mj: float
    flops: int
    lines: tuple[str, ...]


def front_view(
    name: str,
    candidates: Sequence[Candidate],
    *,
    quantised: bool = False,
    exact: ExactFront | None = None,
    picks: Sequence[Candidate] = (),
    baselines: Sequence[Baseline] = (),
    most: int = MOST,
) -> FrontView:
    """The plot of a search called `name`; with `quantised`, each member's network without spikes as a second point.

    Beside it the `exact` front of the space, `picks` that are marked, and `baselines`; at most `most` dominated candidates.
    ValueError where there is no candidate.
    """
    whole, dominated = part(candidates)
    chosen, members = knee(whole), in_plane(whole)
    in_line = {member.architecture.key for member in members}
    return FrontView(
        name=name,
        title=f"{name}: {units.counted(len(whole), 'member')} of the front among "
        f"{units.counted(len(whole) + len(dominated), 'architecture')}",
        subtitle=f"energy an image: {chosen.convention}; {chosen.provenance}",
        dominated=thin(dominated, most),
        all_dominated=len(dominated),
        members=tuple(members),
        others=tuple(member for member in whole if member.architecture.key not in in_line),
        knee=chosen,
        quantised=quantised,
        exact=exact,
        picks=tuple(picks),
        baselines=tuple(_marks(baselines, members)),
    )


def _marks(baselines: Sequence[Baseline], members: Sequence[Candidate]) -> Iterator[Mark]:
    """A mark for each architecture of the baselines: published networks that differ elsewhere are one point here."""
    by_architecture: dict[Architecture, list[Baseline]] = {}
    for baseline in baselines:
        by_architecture.setdefault(baseline.architecture, []).append(baseline)
    for architecture, found in by_architecture.items():
        said = [f"{one.name} as published: {one.published.accuracies_in_words}" for one in found if one.published]
        yield Mark(
            names=tuple(one.name for one in found),
            energy_mj=found[0].energy_mj,
            flops=found[0].flops,
            lines=(in_a_line(architecture), in_words(found[0], members), *said),
        )


def draw_front(view: FrontView) -> "Figure":
    """The view as a plotly figure: energy to the right, FLOPs up, both logarithmic; better is up and left."""
    import plotly.graph_objects as go

    def trace(name: str, points: Sequence[Candidate], **style: object) -> go.Scatter:
        return go.Scatter(
            name=name,
            x=[c.energy_mj for c in points],
            y=[c.flops / 1e9 for c in points],
            customdata=[details(c) for c in points],
            hovertemplate=hover(view.name),
            **style,
        )

    figure = go.Figure(
        [
            trace(
                shown("dominated", len(view.dominated), view.all_dominated),
                view.dominated,
                mode="markers",
                marker={"color": GREY, "size": 5, "opacity": 0.55},
            ),
            *([_exact(view.exact)] if view.exact else []),
            *([_others(view, trace)] if view.others else []),
            trace(
                "Pareto front of FLOPs and energy" if view.others else "Pareto front",
                view.members,
                mode="lines+markers",
                line={"color": BLUE, "width": 2, "shape": "hv"},
                marker={"color": BLUE, "size": 7},
            ),
            trace(
                "knee",
                [view.knee],
                mode="markers",
                marker={"color": ORANGE, "size": 15, "symbol": "star", "line": {"color": "white", "width": 1}},
            ),
        ]
    )
    if view.picks:
        ring = {"color": INK, "size": 15, "symbol": "circle-open", "line": {"width": 2}}
        figure.add_trace(trace(units.counted(len(view.picks), "pick"), view.picks, mode="markers", marker=ring))
    points: list[Candidate | Member | Mark] = [*view.dominated, *view.others, *view.members, *view.baselines]
    points += view.exact.members if view.exact else []
    energies, flops = [c.energy_mj for c in points], [c.flops / 1e9 for c in points]
    if view.quantised:
        energies += [c.quantised_mj for c in view.members]
        figure.add_traces(_quantised(view))
    dress(figure, view.title, view.subtitle)
    figure.update_xaxes(type="log", title="energy (mJ an image, less is better)", **ticks(energies))
    figure.update_yaxes(type="log", title="GFLOPs an image (more is better)", **ticks(flops))
    if view.baselines:
        figure.add_trace(_baselines(view.baselines, label_corners(view.baselines, energies, flops)))
        low, high = math.log10(min(energies)), math.log10(max(energies))
        width = high - low or 1
        figure.update_xaxes(range=[low - 0.04 * width, high + 0.2 * width])  # room for labels
    return figure


def _others(view: FrontView, trace: "Callable[..., go.Scatter]") -> "go.Scatter":
    """Open circles: members that further objectives put on the front."""
    labels = " and ".join(GOALS[name].label for name, _ in view.others[0].scores)
    ring = {"color": BLUE, "size": 11, "symbol": "circle-open", "line": {"width": 1}}
    return trace(f"on the front by {labels}", view.others, mode="markers", marker=ring)


def _exact(exact: ExactFront) -> "go.Scatter":
    """The exact front as a line behind the searched one."""
    import plotly.graph_objects as go

    return go.Scatter(
        name=f"exact front ({exact.classes:,} classes)",
        x=[m.energy_mj for m in exact.members],
        y=[m.flops / 1e9 for m in exact.members],
        mode="lines",
        line={"color": INK, "width": 1.2, "dash": "4px,3px", "shape": "hv"},
        customdata=[
            "<br>".join(
                (
                    f"<b>exact front</b>: {in_a_line(m.architecture)}",
                    f"{units.energy(m.energy_mj)}, {units.count(m.flops, 'FLOPs')}, {units.parameters(m.params)}",
                )
            )
            for m in exact.members
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _baselines(marks: Sequence[Mark], corners: Sequence[str]) -> "go.Scatter":
    """Diamonds, labelled where there is a corner for it."""
    import plotly.graph_objects as go

    return go.Scatter(
        name="baselines",
        x=[mark.energy_mj for mark in marks],
        y=[mark.flops / 1e9 for mark in marks],
        mode="markers+text",
        marker={"color": PURPLE, "size": 11, "symbol": "diamond", "line": {"color": INK, "width": 1}},
        text=[
            "<br>".join(map(escape, _label(mark))) if corner else ""
            for mark, corner in zip(marks, corners, strict=True)
        ],
        textposition=[corner or "bottom right" for corner in corners],
        textfont={"size": 12, "color": INK},
        cliponaxis=False,
        customdata=[
            "<br>".join([f"<b>{escape(', '.join(mark.names))}</b>", *(escape(line) for line in mark.lines)])
            for mark in marks
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _label(mark: Mark) -> list[str]:
    """The lines of a label: names, of an architecture in words without its blocks."""
    return [name.partition(",heads=")[0][:LONGEST] for name in mark.names[:3]]


def label_corners(marks: Sequence[Mark], energies: Sequence[float], flops: Sequence[float]) -> list[str]:
    """The corner of each mark where its label covers no label before it, "" where there is none.

    `energies` and `flops` are those of all that is drawn. Below and to the right comes first: better is up and left.
    """
    widths = [math.log(max(values) / min(values)) or 1.0 for values in (energies, flops)]
    taken: list[tuple[float, float, float, float]] = []
    corners = []
    for mark in marks:
        x, y = math.log(mark.energy_mj) / widths[0], math.log(mark.flops) / widths[1]
        lines = _label(mark)
        width, height = CHARACTER * max(map(len, lines)), LINE * len(lines)
        for corner in ("bottom right", "top right", "bottom left", "top left"):
            left, low = x - width * corner.endswith("left"), y - height * corner.startswith("bottom")
            free = (left + width <= a or c <= left or low + height <= b or d <= low for a, b, c, d in taken)
            if all(free):
                taken.append((left, low, left + width, low + height))
                corners.append(corner)
                break
        else:
            corners.append("")
    return corners


def _quantised(view: FrontView) -> "list[go.Scatter]":
    """Each member's network without spikes in 8-bit integers, tied to the member; it stands at the same FLOPs of T steps."""
    import plotly.graph_objects as go

    members = view.members
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
        hovertemplate=f"<b>without spikes, one pass of 8-bit MACs</b><br>{hover(view.name)}",
    )
    return [ties, points]
