"""The Pareto plot and the audit's bars: for each, what is drawn (`front_view`, `audit_view`) and how (`draw_...`)."""

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.architecture import Architecture
from autost_optuna.candidate import Candidate
from autost_optuna.front import knee, nondominated, unique
from autost_optuna.proxies.energy import total_mj

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure

    from autost_optuna.objective import Description
    from autost_optuna.proxies.energy import Charge

SUFFIXES = (".html", ".svg", ".png")
# Okabe and Ito's palette, which colour-blind readers can tell apart.
GREY, BLUE, ORANGE, GREEN = "#9aa0a6", "#0072b2", "#d55e00", "#009e73"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontView:
    """What the Pareto plot shows of a search."""

    title: str
    subtitle: str
    dominated: tuple[Candidate, ...]
    members: tuple[Candidate, ...]
    knee: Candidate
    quantised: bool


def front_view(name: str, candidates: Sequence[Candidate], *, quantised: bool = False) -> FrontView:
    """The plot of a search called `name`; with `quantised`, each member's network without spikes as a second point.

    ValueError where there is no candidate.
    """
    distinct = unique(candidates)
    members = nondominated(distinct)
    chosen = knee(members)
    on_front = {member.architecture.key for member in members}
    return FrontView(
        title=f"{name}: {units.counted(len(members), 'member')} of the front among "
        f"{units.counted(len(distinct), 'architecture')}",
        subtitle=f"energy an image: {chosen.convention}; {chosen.provenance}",
        dominated=tuple(c for c in distinct if c.architecture.key not in on_front),
        members=tuple(members),
        knee=chosen,
        quantised=quantised,
    )


def draw_front(view: FrontView) -> "Figure":
    """The view as a plotly figure: energy to the right, FLOPs up, both logarithmic; better is up and left."""
    import plotly.graph_objects as go

    def trace(name: str, points: Sequence[Candidate], **style: object) -> go.Scatter:
        return go.Scatter(
            name=name,
            x=[c.energy_mj for c in points],
            y=[c.flops / 1e9 for c in points],
            customdata=[_hover(c) for c in points],
            hovertemplate="%{customdata}<extra></extra>",
            **style,
        )

    figure = go.Figure(
        [
            trace("dominated", view.dominated, mode="markers", marker={"color": GREY, "size": 5, "opacity": 0.55}),
            trace(
                "Pareto front",
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
    points = (*view.dominated, *view.members)
    energies = [c.energy_mj for c in points]
    if view.quantised:
        energies += [c.quantised_mj for c in view.members]
        figure.add_traces(_quantised(view.members))
    _dress(figure, view.title, view.subtitle)
    figure.update_xaxes(type="log", title="energy (mJ an image, less is better)", **_ticks(energies))
    figure.update_yaxes(type="log", title="GFLOPs an image (more is better)", **_ticks([c.flops / 1e9 for c in points]))
    return figure


def _quantised(members: Sequence[Candidate]) -> "list[go.Scatter]":
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
        name="without spikes: one pass of 8-bit MACs, shown at the FLOPs of the member",
        x=[c.quantised_mj for c in members],
        y=[c.flops / 1e9 for c in members],
        mode="markers",
        marker={"color": GREEN, "size": 6, "symbol": "diamond-open"},
        customdata=[f"{_hover(c)}<br>without spikes {units.energy(c.quantised_mj)}" for c in members],
        hovertemplate="%{customdata}<extra></extra>",
    )
    return [ties, points]


def _dress(figure: "Figure", title: str, subtitle: str) -> None:
    """What all figures share: titles, fonts, margins."""
    figure.update_layout(
        template="plotly_white",
        title={"text": _escape(title), "subtitle": {"text": _escape(subtitle)}, "x": 0.01, "xanchor": "left"},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.13,
            "yanchor": "top",
        },  # it covers no point there
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": "#202124"}},
        margin={"l": 70, "r": 30, "t": 80, "b": 110},
        font={"family": "system-ui, sans-serif", "size": 14},
    )


def check_ending(path: Path) -> str:
    """The ending of a figure's file. ValueError where no figure is written in that form."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has no known ending; name it {', '.join(SUFFIXES)}")
    return suffix


def write_figure(figure: "Figure", path: Path) -> None:
    """Write .html (interactive, complete in itself), .svg or .png. ValueError for other names, or without a Chromium."""
    suffix = check_ending(path)
    part = path.with_name(f".{path.stem}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".html":
            figure.write_html(
                part, include_plotlyjs=True, default_height="94vh", config={"displaylogo": False, "responsive": True}
            )
        else:
            _write_image(figure, part)
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise ValueError(f"cannot write {path} ({error.strerror or error}); choose another file") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _write_image(figure: "Figure", path: Path) -> None:
    try:
        figure.write_image(path, width=1000, height=620, scale=1 if path.suffix == ".svg" else 2)
    except Exception as error:  # kaleido raises many kinds where it or its browser is missing
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot write {path.suffix} ({reason.rstrip('.')}); install kaleido and Chromium, or write .html"
        ) from None


def _hover(candidate: Candidate) -> str:
    """The lines that a pointer sees; in brackets the range of the energy over images and seeds."""
    spread = candidate.spread
    trial = "" if candidate.number is None else f"<b>trial {candidate.number}</b><br>"
    blocks = candidate.architecture
    heads, ratios = ("/".join(map(str, values)) for values in (blocks.num_heads, blocks.mlp_ratio))
    return (
        f"{trial}C {blocks.embed_dim}, depth {blocks.depth}<br>heads {heads}<br>ratio {ratios}<br>"
        f"{units.energy(candidate.energy_mj)} ({units.energy(spread.low_mj)} to {units.energy(spread.high_mj)}), "
        f"{units.count(candidate.flops, 'FLOPs')}, "
        f"{units.parameters(candidate.params)}"
    )


def _ticks(values: Sequence[float]) -> dict[str, object]:
    """Readable ticks of a logarithmic axis: 1, 2, 5 and their decades, denser where the range is narrow."""
    low, high = min(values), max(values)
    steps: tuple[float, ...] = (1, 2, 5)
    if high / low < 30:
        steps = (1, 1.5, 2, 3, 4, 5, 7) if high / low > 3 else (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    ticks = [float(f"{step}e{power}") for power in range(-9, 9) for step in steps]
    shown = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
    return {"tickvals": shown, "ticktext": [f"{tick:g}" for tick in shown]}


def _escape(text: str) -> str:
    """Text as plotly's titles show it literally."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# What an operation is, by the end of its name, with its colour; hatched where it reads real values.
FAMILIES = {
    "convolutions": (("conv1", "conv2", "conv3", "conv4"), "#0072b2"),
    "position convolution": (("position",), "#d55e00"),
    "q, k, v": (("q", "k", "v"), "#56b4e9"),
    "attention products": (("qk", "av"), "#cc79a7"),
    "projection": (("proj",), "#009e73"),
    "MLP": (("fc1", "fc2"), "#e69f00"),
    "head": (("head",), "#555555"),
}
OVERHEADS = {"state": ("neuron states", "#bbbbbb"), "static": ("static", "#888888")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A piece of a stage's bar: the charges of one family."""

    stage: str
    family: str
    colour: str
    real: bool
    energy_mj: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditView:
    """What the audit plot shows: energy by stage of the network, parted by what spends it."""

    title: str
    subtitle: str
    stages: tuple[str, ...]
    segments: tuple[Segment, ...]


def audit_view(description: "Description") -> AuditView:
    """The plot of an architecture's audit."""
    candidate = description.candidate
    parts: dict[tuple[str, str, str, bool], list[Charge]] = {}
    for charge in description.charges:
        family, colour = _family(charge)
        parts.setdefault((charge.stage, family, colour, charge.kind == "mac"), []).append(charge)
    return AuditView(
        title=f"{units.energy(candidate.energy_mj)} an image: {_short(candidate.architecture)}",
        subtitle=f"{candidate.convention}; {candidate.provenance}",
        stages=tuple(dict.fromkeys(charge.stage for charge in description.charges)),
        segments=tuple(
            Segment(
                stage=stage,
                family=family,
                colour=colour,
                real=real,
                energy_mj=total_mj(charges),
                lines=tuple(_charge_line(charge) for charge in charges),
            )
            for (stage, family, colour, real), charges in parts.items()
        ),
    )


def draw_audit(view: AuditView) -> "Figure":
    """The view as stacked bars, one a stage, in the order in which the signal meets them."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for family in dict.fromkeys((segment.family, segment.real) for segment in view.segments):
        found = [segment for segment in view.segments if (segment.family, segment.real) == family]
        figure.add_bar(
            name=found[0].family
            + (", real-valued input" if found[0].real and found[0].family == "convolutions" else ""),
            x=[_stage(segment.stage) for segment in found],
            y=[segment.energy_mj for segment in found],
            marker={"color": found[0].colour, "pattern": {"shape": "/" if found[0].real else "", "fgcolor": "white"}},
            customdata=["<br>".join(segment.lines) for segment in found],
            hovertemplate="<b>stage %{x}</b>, " + found[0].family + ": %{y:.4g} mJ<br>%{customdata}<extra></extra>",
        )
    _dress(figure, view.title, view.subtitle)
    figure.update_layout(barmode="stack", legend={"orientation": "v", "x": 1.01, "y": 1}, margin={"b": 60})
    figure.update_xaxes(
        title="stem, blocks by their number, head (hatched: reads real values)",
        categoryorder="array",
        categoryarray=[_stage(stage) for stage in view.stages],
        type="category",
    )
    figure.update_yaxes(title="energy (mJ an image)", rangemode="tozero")
    return figure


def _stage(stage: str) -> str:
    return stage.removeprefix("blocks.")


def _family(charge: "Charge") -> tuple[str, str]:
    if charge.kind in OVERHEADS:
        return OVERHEADS[charge.kind]
    end = charge.name.rpartition(".")[2]
    return next((family, colour) for family, (ends, colour) in FAMILIES.items() if end in ends)


def _charge_line(charge: "Charge") -> str:
    rate = "" if charge.rate is None else f", rate {charge.rate:.4f}"
    macs = f" {charge.macs:,} MACs x {charge.steps}" if charge.macs else ""
    return f"{charge.name}:{macs}{rate}, {charge.energy_pj * 1e-6:,.3f} µJ"


def _short(architecture: Architecture) -> str:
    """An architecture in a title: width, depth, and the blocks where they are few."""
    text = architecture.to_text()
    return text if len(text) <= 70 else f"C={architecture.embed_dim},depth={architecture.depth}"
