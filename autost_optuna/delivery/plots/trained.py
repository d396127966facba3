"""The plot of trained networks, predicted and measured: its content (`trained_view`) and drawing (`draw_trained`)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREY, INK, ORANGE, dress, escape, legend_of_part, ticks
from autost_optuna.delivery.plots.frame import frame_of
from autost_optuna.delivery.plots.points import at, drawn, export_command, thin
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import in_plane, part
from autost_optuna.training.calibration import Group, Mean, group, measured_front
from autost_optuna.training.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")  # one per recipe
HEIGHT = 860  # pixels of both panels
MARGIN = 0.15  # share of the width of an axis, on each side, as room for numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedPoint:
    """A trained architecture: its trial of the search, recipe and data, figures, and hover text."""

    label: str
    recipe: str
    flops: int
    predicted_mj: float
    energy_mj: Mean
    accuracy: Mean
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedView:
    """What the plot shows: the search and its front, the trained networks, and those that no other beats as measured."""

    name: str
    title: str
    subtitle: str
    dominated: tuple[Candidate, ...]
    all_dominated: int
    members: tuple[Candidate, ...]
    points: tuple[TrainedPoint, ...]
    measured: tuple[TrainedPoint, ...]


def trained_view(name: str, candidates: Sequence[Candidate], trainings: Sequence[Record]) -> TrainedView:
    """The plot of a search called `name` and its trained networks. ValueError if there are none."""
    if not trainings:
        raise ValueError(
            f"study {name} has no trained networks yet; {units.command('train', name, '--knee')} makes one"
        )
    (whole, dominated), groups = part(candidates), group(trainings)
    members = in_plane(whole)
    kept = {member.number for member in members}
    dominated = [*dominated, *(one for one in whole if one.number not in kept)]  # in the two figures that are drawn
    numbers = {c.architecture.key: c.number for c in (*members, *dominated)}
    points = {id(one): _point(name, one, numbers.get(one.architecture.key)) for one in groups}
    architectures = len({training.architecture for training in trainings})
    data = ", ".join(dict.fromkeys(training.data for training in trainings))
    return TrainedView(
        name=name,
        title=f"{name}: {_finding([points[id(one)] for one in groups])}",
        subtitle=f"{units.counted(len(trainings), 'trained network')} of {units.counted(architectures, 'architecture')}; "
        f"{trainings[0].convention}; measured with trained weights on held-out images of {data}",
        dominated=thin(dominated),
        all_dominated=len(dominated),
        members=tuple(members),
        points=tuple(points.values()),
        measured=tuple(points[id(one)] for one in measured_front(groups)),
    )


def _finding(points: Sequence[TrainedPoint]) -> str:
    """The most accurate network, and how far measured energies differ from predicted ones."""
    best = max(points, key=lambda point: point.accuracy.mean)
    ratios = [point.energy_mj.mean / point.predicted_mj for point in points]
    low, high = (f"{ratio:.2f}" for ratio in (min(ratios), max(ratios)))
    return (
        f"{'a network' if best.label == '?' else f'trial {best.label}'} reaches {units.share(best.accuracy.mean)} for "
        f"{units.energy(best.energy_mj.mean)} per image; "
        f"measured energy is {low if low == high else f'{low} to {high}'} times the predicted"
    )


def draw_measured(view: TrainedView) -> "Figure":
    """Only the lower panel of `draw_trained`: validation accuracy over measured energy."""
    import plotly.graph_objects as go

    figure = go.Figure(_measured_line(view))
    for points, symbol in _by_recipe(view):
        figure.add_trace(_measured(points, view.measured, symbol)[1])
    dress(figure, view.title, view.subtitle)
    energies = [point.energy_mj.mean for point in view.points]
    low, high = (math.log10(end) for end in (min(energies), max(energies)))
    room = max(MARGIN * (high - low), math.log10(1.1))
    ends = [low - room, high + room]
    figure.update_xaxes(
        type="log", title="measured energy (mJ per image)", range=ends, **ticks([10**end for end in ends])
    )
    figure.update_yaxes(title="validation accuracy (%)")
    return figure


def _by_recipe(view: TrainedView) -> Iterator[tuple[list[TrainedPoint], str]]:
    """The points of each recipe, and their symbol."""
    recipes = list(dict.fromkeys(point.recipe for point in view.points))
    for place, recipe in enumerate(recipes):
        yield [point for point in view.points if point.recipe == recipe], SYMBOLS[place % len(SYMBOLS)]


def draw_trained(view: TrainedView) -> "Figure":
    """The view as a plotly figure of two panels with one axis of energy.

    Above, FLOPs over the energy at initialisation, and a line from each trained member to its measured energy. Below,
    validation accuracy over measured energy. Better is up and left in both.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    figure.add_traces([_dominated(view), _front(view), _ties(view), _predicted(view)], rows=1, cols=1)
    figure.add_trace(_measured_line(view), row=2, col=1)
    for points, symbol in _by_recipe(view):
        above, below = _measured(points, view.measured, symbol)
        figure.add_trace(above, row=1, col=1)
        figure.add_trace(below, row=2, col=1)
    dress(figure, view.title, view.subtitle)
    trained = [(energy, p.flops / 1e9) for p in view.points for energy in (p.predicted_mj, p.energy_mj.mean)]
    frame = frame_of([*map(at, view.members), *trained], [*map(at, view.dominated)])
    energies, flops = zip(frame.low, frame.high, strict=True)
    figure.update_xaxes(type="log", showticklabels=True, range=energies, **ticks([10**end for end in energies]))
    figure.update_xaxes(title="energy (mJ per image, less is better)", row=2, col=1)
    figure.update_yaxes(
        type="log",
        title="GFLOPs per image (more is better)",
        range=flops,
        row=1,
        col=1,
        **ticks([10**end for end in flops]),
    )
    figure.update_yaxes(title="validation accuracy (%)", row=2, col=1)
    figure.update_layout(height=HEIGHT, margin={"t": 125})
    for axis, text in (("y", "<b>Predicted</b> at initialisation"), ("y2", "<b>Measured</b> after training")):
        place: dict[str, Any] = {"xref": "paper", "x": 0, "yref": f"{axis} domain", "y": 1}
        figure.add_annotation(text=text, showarrow=False, xanchor="left", yanchor="bottom", font={"size": 15}, **place)
    return figure


def _dominated(view: TrainedView) -> "go.Scatter":
    name = legend_of_part("dominated", len(view.dominated), view.all_dominated)
    return drawn(view.name, name, view.dominated, mode="markers", marker={"color": GREY, "size": 5, "opacity": 0.55})


def _front(view: TrainedView) -> "go.Scatter":
    line = {"color": BLUE, "width": 2, "shape": "hv"}
    name = "Pareto front of the search"
    return drawn(view.name, name, view.members, mode="lines+markers", line=line, marker={"size": 5})


def _ties(view: TrainedView) -> "go.Scatter":
    """A line from each prediction to its measurement; training does not change FLOPs, which are counted."""
    import plotly.graph_objects as go

    return go.Scatter(
        name="from prediction to measurement",
        x=[x for p in view.points for x in (p.predicted_mj, p.energy_mj.mean, None)],
        y=[y for p in view.points for y in (p.flops / 1e9, p.flops / 1e9, None)],
        mode="lines",
        line={"color": ORANGE, "width": 1.6, "dash": "3px,3px"},  # visible above the steps of the front
        hoverinfo="skip",
    )


def _predicted(view: TrainedView) -> "go.Scatter":
    """The trained members as predicted; members at the same place share the text of the first."""
    import plotly.graph_objects as go

    labels: dict[tuple[float, int], dict[str, None]] = {}
    for p in view.points:
        labels.setdefault((p.predicted_mj, p.flops), {})[p.label] = None
    return go.Scatter(
        name="predicted (number of its trial)",
        x=[p.predicted_mj for p in view.points],
        y=[p.flops / 1e9 for p in view.points],
        mode="markers+text",
        text=[", ".join(labels.pop((p.predicted_mj, p.flops), ())) for p in view.points],
        textposition="top left",
        textfont={"size": 12, "color": INK},
        marker={"color": "white", "size": 10, "symbol": "circle", "line": {"color": BLUE, "width": 2}},
        customdata=["<br>".join(p.lines) for p in view.points],
        hovertemplate="%{customdata}<extra></extra>",
        cliponaxis=False,
    )


def _measured_line(view: TrainedView) -> "go.Scatter":
    import plotly.graph_objects as go

    recipes = dict.fromkeys(p.recipe for p in view.measured)
    lines = [[p for p in view.measured if p.recipe == recipe] for recipe in recipes]
    return go.Scatter(
        name="Pareto front as measured",
        x=[x for line in lines for x in (*(p.energy_mj.mean for p in line), None)],
        y=[y for line in lines for y in (*(100 * p.accuracy.mean for p in line), None)],
        mode="lines",
        line={"color": ORANGE, "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )


def _measured(
    points: Sequence[TrainedPoint], front: Sequence[TrainedPoint], symbol: str
) -> "tuple[go.Scatter, go.Scatter]":
    """The measured points of one recipe: their energies in the upper panel, with accuracy in the lower.

    Numbers are where the front leaves room: above its members, and below all others.
    """
    import plotly.graph_objects as go

    recipe = points[0].recipe
    same: dict[str, Any] = {
        "name": f"measured: {escape(recipe)}",
        "legendgroup": recipe,
        "x": [p.energy_mj.mean for p in points],
        "marker": {"color": ORANGE, "size": 9, "symbol": symbol},
        "customdata": ["<br>".join(p.lines) for p in points],
        "hovertemplate": "%{customdata}<extra></extra>",
        "cliponaxis": False,
    }
    above = go.Scatter(y=[p.flops / 1e9 for p in points], mode="markers", showlegend=False, **same)
    below = go.Scatter(
        y=[100 * p.accuracy.mean for p in points],
        mode="markers+text",
        text=[p.label for p in points],
        textposition=["top left" if p in front else "bottom right" for p in points],
        textfont={"size": 12, "color": INK},
        error_x=_error([p.energy_mj for p in points], 1),
        error_y=_error([p.accuracy for p in points], 100),
        **same,
    )
    return above, below


def _error(means: Sequence[Mean], scale: float) -> Mapping[str, Any]:
    """Bars of one standard deviation over seeds; none for a single seed."""
    bars = [scale * (mean.deviation or 0.0) for mean in means]
    return {"type": "data", "array": bars, "visible": any(bars), "thickness": 1, "width": 3, "color": ORANGE}


def _point(name: str, one: Group, number: int | None) -> TrainedPoint:
    first, validation, test = one.runs[0], one.validation_accuracy, one.test_accuracy
    label = "?" if number is None else str(number)
    return TrainedPoint(
        label=label,
        recipe=f"{first.recipe_name} on {first.data}",
        flops=first.flops,
        predicted_mj=one.predicted_mj,
        energy_mj=one.energy_mj,
        accuracy=one.validation_accuracy,
        lines=(
            f"<b>trial {label}</b>: {one.architecture.in_words()}; {units.counted(len(one.runs), 'seed')}",
            f"predicted {units.energy(one.predicted_mj)}, measured {units.energy(one.energy_mj.mean)} "
            f"({one.ratio:.2f} times)",
            f"validation {units.share(validation.mean, validation.deviation)}, "
            f"test {units.share(test.mean, test.deviation)}",
            f"{units.count(first.flops, 'FLOPs')}, {units.parameters(first.params)}",
            *([] if number is None else [escape(export_command(name, number))]),
        ),
    )
