"""The plot of proxies against trained accuracy: what is drawn (`validity_view`), and how (`draw_validity`)."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREY, ORANGE, TITLE, dress, escape, ticks
from autost_optuna.evidence.validity import TOPS
from autost_optuna.evidence.verdict import Evidence, Validation
from autost_optuna.ranks import Floats, codes, within_top

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 1500  # most points of a panel; more hide each other
WIDE = 20  # a proxy whose values span more than this factor has a logarithmic axis
TICKS = 7  # most ticks of an axis; more overlap
PANEL = 390  # pixels of a row of panels with its title
RUG, GAP = 0.045, 0.012  # of a panel's side: the strip of ranks, and the space before it
LEGEND = 110  # pixels below the panels
BANDS = ("the rest", "top fifth", "top tenth")
COLOURS = (GREY, BLUE, ORANGE)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedPoint:
    """An architecture in a panel: its proxy and accuracy, and the share of others that it beats in each, 0 to 1."""

    label: str
    proxy: float
    accuracy: float
    proxy_rank: float
    accuracy_rank: float
    band: int  # 0 the rest, 1 the top fifth by accuracy, 2 the top tenth


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A proxy against accuracy. `infinite` counts infinite values, which are not drawn."""

    name: str
    title: str
    logarithmic: bool
    points: tuple[RankedPoint, ...]
    infinite: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidityView:
    """What the plot shows: a panel for each proxy, best first."""

    title: str
    subtitle: str
    target: str
    panels: tuple[Panel, ...]


def validity_view(evidence: Evidence, validation: Validation) -> ValidityView:
    """The plot of evidence and its findings."""
    accuracy, number = np.asarray(evidence.means), len(evidence.accuracies)
    sense, once = -1 if evidence.lower else 1, np.ones((1, number), np.float32)
    # Evenly by accuracy, including the best; shuffled, so that points that cover others are neither better nor worse.
    places = np.argsort(sense * accuracy, kind="stable")[:: -math.ceil(number / MOST)]
    places = np.random.default_rng(0).permutation(places)
    band = sum((within_top(sense * accuracy, once, share)[0] > 0).astype(int) for share in TOPS.values())
    ranks = _beaten(sense * accuracy)
    panels = []
    for verdict in validation.proxies:
        values = np.asarray(evidence.proxies[verdict.name])
        proxy_ranks = _beaten(sense * values)
        finite = [place for place in places if math.isfinite(values[place])]
        panels.append(
            Panel(
                name=verdict.name,
                title=f"{verdict.name}: Kendall {verdict.kendall.text}",
                logarithmic=bool(
                    values.min() > 0 and math.isfinite(values.max()) and values.max() > WIDE * values.min()
                ),
                points=tuple(
                    RankedPoint(
                        label=evidence.labels[place],
                        proxy=float(values[place]),
                        accuracy=float(accuracy[place]),
                        proxy_rank=float(proxy_ranks[place]),
                        accuracy_rank=float(ranks[place]),
                        band=int(np.asarray(band)[place]),
                    )
                    for place in finite
                ),
                infinite=int(np.isinf(values).sum()),
            )
        )
    return ValidityView(
        title=f"{evidence.target}: {units.counted(len(panels), 'proxy' if len(panels) == 1 else 'proxie')} against "
        f"{units.counted(number, 'trained architecture')}",
        subtitle="with 95 % intervals; strips: ranks in the other figure, where a good proxy's colours change smoothly"
        + ("" if len(places) == number else f"; {len(places):,} drawn"),
        target=evidence.target,
        panels=tuple(panels),
    )


def draw_validity(view: ValidityView) -> "Figure":
    """The view as scatters, each with a strip of ranks at its upper and right side.

    The upper strip is at the points' proxies with the colours of their ranks in accuracy, the right strip the other way
    round.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    columns = min(2, len(view.panels))
    rows = math.ceil(len(view.panels) / columns)
    dress(figure, view.title, view.subtitle)
    height = rows * PANEL + TITLE + 70 + LEGEND
    figure.update_layout(height=height, margin={"t": TITLE + 70, "b": LEGEND}, coloraxis=_colours(rows))
    for index, panel in enumerate(view.panels):
        column, row = index % columns, index // columns
        _draw_panel(figure, view, panel, index, (column, columns), (row, rows))
    return figure


def _draw_panel(
    figure: "Figure", view: ValidityView, panel: Panel, index: int, across: tuple[int, int], down: tuple[int, int]
) -> None:
    """Add the panel at a place of the grid, `across` and `down`, with its own axes."""
    left, right = _span(*across, space=0.1)
    top, bottom = (1 - end for end in _span(*down, space=0.16 if down[1] < 3 else 0.3 / down[1]))
    width, height = right - left, top - bottom
    # plotly numbers axes from 1; "x" is "x1"
    x, y, side, up = f"x{2 * index + 1}", f"y{2 * index + 1}", f"x{2 * index + 2}", f"y{2 * index + 2}"
    strip: dict[str, Any] = {"visible": False, "fixedrange": True, "range": [-1, 1]}
    inner = 1 - RUG - GAP
    scale: dict[str, Any] = {"exponentformat": "SI"}
    if panel.logarithmic:
        scale = {"type": "log", "tickangle": 0, **ticks([p.proxy for p in panel.points], TICKS, _said)}
    figure.update_layout(
        {
            _axis(x): {"domain": [left, left + inner * width], "anchor": y, "title": escape(panel.name), **scale},
            _axis(y): {"domain": [bottom, bottom + inner * height], "anchor": x, "title": escape(view.target)},
            _axis(side): {"domain": [right - RUG * width, right], "anchor": y, **strip},
            _axis(up): {"domain": [top - RUG * height, top], "anchor": x, **strip},
        }
    )
    for band, name in enumerate(BANDS):
        legend = f"{name} by {escape(view.target)}" if band else name
        figure.add_trace(_scatter(panel, band, x, y, legend, first=index == 0))
    proxies, accuracies = [p.proxy for p in panel.points], [p.accuracy for p in panel.points]
    flat = [0.0] * len(proxies)
    figure.add_trace(_strip(proxies, flat, [p.accuracy_rank for p in panel.points], x, up, "line-ns"))
    figure.add_trace(_strip(flat, accuracies, [p.proxy_rank for p in panel.points], side, y, "line-ew"))
    infinite = f" ({panel.infinite:,} infinite)" if panel.infinite else ""
    figure.add_annotation(
        text=f"<b>{escape(panel.title)}</b>{infinite}",
        showarrow=False,
        xref="paper",
        yref="paper",
        x=left,
        y=top,
        xanchor="left",
        yanchor="bottom",
        font={"size": 15},
    )


def _scatter(panel: Panel, band: int, x: str, y: str, name: str, *, first: bool) -> Any:
    """The points of a band, on the axes `x` and `y`; the legend has the `name` from the first panel."""
    import plotly.graph_objects as go

    points = [point for point in panel.points if point.band == band]
    few = len(panel.points) < 300
    return go.Scatter(
        name=name,
        legendgroup=name,
        showlegend=first,
        x=[point.proxy for point in points],
        y=[point.accuracy for point in points],
        xaxis=x,
        yaxis=y,
        mode="markers",
        marker={"color": COLOURS[band], "size": 8 if few else 5, "opacity": 0.9 if few else 0.6},
        customdata=[[escape(p.label), 100 * p.proxy_rank, 100 * p.accuracy_rank] for p in points],
        hovertemplate="<b>%{customdata[0]}</b><br>%{x:.4g}, better than %{customdata[1]:.0f} %<br>"
        "%{y:.4g}, better than %{customdata[2]:.0f} %<extra></extra>",
    )


def _strip(x: Sequence[float], y: Sequence[float], ranks: Sequence[float], xaxis: str, yaxis: str, symbol: str) -> Any:
    """One dash per point, in the colour of its rank."""
    import plotly.graph_objects as go

    marker = {"symbol": symbol, "size": 14, "color": [100 * rank for rank in ranks], "coloraxis": "coloraxis"}
    return go.Scatter(
        x=x,
        y=y,
        xaxis=xaxis,
        yaxis=yaxis,
        mode="markers",
        marker={**marker, "line": {"width": 2, "color": marker["color"], "coloraxis": "coloraxis"}},
        showlegend=False,
        hoverinfo="skip",
    )


def _colours(rows: int) -> dict[str, Any]:
    """The colour scale of ranks, from blue (low) to orange (high)."""
    return {
        "colorscale": [[0, BLUE], [0.5, GREY], [1, ORANGE]],
        "cmin": 0,
        "cmax": 100,
        "colorbar": {
            "title": {"text": "better than (%)", "side": "right"},
            "thickness": 12,
            "len": 1 / rows,
            "y": 1,
            "yanchor": "top",
        },
    }


def _said(value: float) -> str:
    """A number, with an SI prefix if it is large."""
    return re.sub(r"\.0+ ", " ", units.count(float(f"{value:g}"))) if value >= 1e4 else f"{value:g}"


def _span(place: int, places: int, *, space: float) -> tuple[float, float]:
    """The start and end of one of several equal parts of 0 to 1, with `space` between them."""
    size = (1 - space * (places - 1)) / places
    return place * (size + space), place * (size + space) + size


def _axis(name: str) -> str:
    """The layout's name of an axis: xaxis3 for x3; the first has only its letter."""
    return f"{name[0]}axis{name[1:] if name[1:] != '1' else ''}"


def _beaten(values: Floats) -> Floats:
    """The share of the others that each beats; ties count half."""
    level = codes(values)
    sizes = np.bincount(level)
    beaten: Floats = ((np.cumsum(sizes) - (sizes + 1) / 2) / (len(values) - 1))[level]
    return beaten
