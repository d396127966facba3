"""The Pareto plot: what is drawn (`front_view`), and how (`draw_front`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.front import knee, nondominated, unique
from autost_optuna.plots.figure import BLUE, GREEN, GREY, ORANGE, dress, ticks

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from plotly.graph_objects import Figure


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
    dress(figure, view.title, view.subtitle)
    figure.update_xaxes(type="log", title="energy (mJ an image, less is better)", **ticks(energies))
    figure.update_yaxes(type="log", title="GFLOPs an image (more is better)", **ticks([c.flops / 1e9 for c in points]))
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
