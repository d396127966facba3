"""The Pareto plot: what is drawn (`front_view`) and how (`draw_front`)."""

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.front import knee, nondominated, unique

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUFFIXES = (".html", ".svg", ".png")
# Okabe and Ito's palette, which colour-blind readers can tell apart.
GREY, BLUE, ORANGE = "#9aa0a6", "#0072b2", "#d55e00"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontView:
    """What the Pareto plot shows of a search."""

    title: str
    subtitle: str
    dominated: tuple[Candidate, ...]
    members: tuple[Candidate, ...]
    knee: Candidate


def front_view(name: str, candidates: Sequence[Candidate]) -> FrontView:
    """The plot of a search called `name`. ValueError where there is no candidate."""
    distinct = unique(candidates)
    members = nondominated(distinct)
    chosen = knee(members)
    on_front = {member.architecture.key for member in members}
    return FrontView(
        title=f"{name}: {units.counted(len(members), 'member')} of the front among "
        f"{units.counted(len(distinct), 'architecture')}",
        subtitle=f"energy an image at initialisation: {chosen.convention}, {chosen.data}, "
        f"{units.counted(chosen.images, 'image')}, seed {chosen.seed}",
        dominated=tuple(c for c in distinct if c.architecture.key not in on_front),
        members=tuple(members),
        knee=chosen,
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
    figure.update_layout(
        template="plotly_white",
        title={"text": _escape(view.title), "subtitle": {"text": _escape(view.subtitle)}, "x": 0.01, "xanchor": "left"},
        legend={"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": "#202124"}},
        margin={"l": 70, "r": 30, "t": 80, "b": 60},
        font={"family": "system-ui, sans-serif", "size": 14},
    )
    figure.update_xaxes(
        type="log", title="energy (mJ an image, less is better)", **_ticks([c.energy_mj for c in points])
    )
    figure.update_yaxes(type="log", title="GFLOPs an image (more is better)", **_ticks([c.flops / 1e9 for c in points]))
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write .html (interactive, complete in itself), .svg or .png. ValueError for other names, or without a Chromium."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has no known ending; name it {', '.join(SUFFIXES)}")
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
        raise ValueError(f"cannot write {path} ({error.strerror or error}); choose another place with -o") from None
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
    """The lines that a pointer sees."""
    trial = "" if candidate.number is None else f"<b>trial {candidate.number}</b><br>"
    blocks = candidate.architecture
    heads, ratios = ("/".join(map(str, values)) for values in (blocks.num_heads, blocks.mlp_ratio))
    return (
        f"{trial}C {blocks.embed_dim}, depth {blocks.depth}<br>heads {heads}<br>ratio {ratios}<br>"
        f"{units.energy(candidate.energy_mj)}, {units.count(candidate.flops, 'FLOPs')}, "
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
