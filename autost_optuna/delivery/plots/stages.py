"""Energy by stage of the picks of a front: what is drawn (`stages_view`), and how (`draw_stages`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREY, INK, ORANGE, SKY, dress
from autost_optuna.front.picks import KNEE, Pick
from autost_optuna.proxies.energy import Charge, total_mj
from autost_optuna.search.bills import Bill, costliest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDE = 0.09  # share of a bar from which there is room for a horizontal name
BAR, ABOVE_AND_BELOW = 116, 150  # pixels of a pick's bar, and of everything around the bars
COSTLY = 4  # most operations of a stage in hover text
DARK_GREY = "#555555"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of a pick's bar: what a stage of the network costs; `block` is its place among the blocks, None outside them."""

    pick: int
    name: str
    block: int | None
    energy_mj: float
    share: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesView:
    """What the plot shows: one bar per pick, with `labels`, split by stage in the order of the signal."""

    title: str
    subtitle: str
    labels: tuple[tuple[str, ...], ...]
    stages: tuple[Stage, ...]


def stages_view(name: str, bills: Sequence[Bill]) -> StagesView:
    """The plot of the bills of a search called `name`. ValueError if there is none."""
    if not bills:
        raise ValueError(f"study {name} has no picks whose energy could be split")
    first = bills[0].pick.candidate
    stages = tuple(stage for number, bill in enumerate(bills) for stage in _stages(number, bill))
    return StagesView(
        title=f"{name}: {_finding(stages, [bill.pick for bill in bills])}",
        subtitle=f"where the energy of the picks goes; {first.convention}; {first.conditions}",
        labels=tuple(
            (bill.pick.name, f"trial {bill.pick.candidate.number}", units.energy(total_mj(bill.charges)))
            for bill in bills
        ),
        stages=stages,
    )


def _finding(stages: Sequence[Stage], picks: Sequence[Pick]) -> str:
    """The most expensive stage of the knee, or of the first pick if the knee has no bill."""
    pick = next((place for place, pick in enumerate(picks) if KNEE in pick.names), 0)
    dearest = max((stage for stage in stages if stage.pick == pick), key=lambda stage: stage.energy_mj)
    energy = units.energy(sum(stage.energy_mj for stage in stages if stage.pick == pick))
    the = "the " if dearest.block is None else ""
    chosen = picks[pick]
    name = KNEE if KNEE in chosen.names else chosen.name
    return (
        f"{the}{dearest.name} takes {dearest.share:.0%} of the {energy} of the {name}, trial {chosen.candidate.number}"
    )


def _stages(number: int, bill: Bill) -> list[Stage]:
    parts: dict[str, list[Charge]] = {}
    for charge in bill.charges:
        parts.setdefault(charge.stage, []).append(charge)
    whole = total_mj(bill.charges)
    return [
        Stage(
            pick=number,
            name=charges[0].stage_title,
            block=charges[0].block,
            energy_mj=total_mj(charges),
            share=total_mj(charges) / whole,
            lines=(
                bill.pick.candidate.architecture.in_words(),
                *(f"{one.name}: {units.energy(one.energy_pj * 1e-9)}" for one in costliest(charges, COSTLY)),
            ),
        )
        for charges in parts.values()
    ]


def draw_stages(view: StagesView, letters: float = 1.0) -> "Figure":
    """The view as horizontal bars of equal length, so that shares are readable even if energies differ a hundredfold.

    With `letters` larger relative to the bars than in a page (1.0), narrow stages show only their names.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for name in _order(view.stages):
        stages = [stage for stage in view.stages if stage.name == name]
        colour, ink = _colours(stages[0])
        across = min(stage.share for stage in stages) > WIDE
        figure.add_bar(
            name=name,
            orientation="h",
            y=[stage.pick for stage in stages],
            x=[100 * stage.share for stage in stages],
            text=[
                name if letters > 1 and not across else f"{name}{'<br>' if across else ' '}{stage.share:.1%}"
                for stage in stages
            ],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0 if across else -90,
            textfont={"color": ink, "size": 12},
            marker={"color": colour, "line": {"color": "white", "width": 1}},
            customdata=[[stage.energy_mj, "<br>".join(stage.lines)] for stage in stages],
            hovertemplate=f"<b>{name}</b>: %{{customdata[0]:.4g}} mJ, %{{x:.1f}} %<br>%{{customdata[1]}}<extra></extra>",
        )
    dress(figure, view.title, view.subtitle)
    figure.update_layout(
        barmode="stack",
        bargap=0.2,
        showlegend=False,
        uniformtext={"mode": "hide", "minsize": 9},
        margin={"l": 118, "b": 55},
        height=BAR * len(view.labels) + ABOVE_AND_BELOW,
    )
    figure.update_xaxes(title="share of the energy (%)", range=[0, 100])
    figure.update_yaxes(
        tickvals=list(range(len(view.labels))),
        ticktext=["<br>".join((f"<b>{label[0]}</b>", *label[1:])) for label in view.labels],
        autorange="reversed",
    )
    return figure


def _order(stages: Sequence[Stage]) -> list[str]:
    """The stages in the order of the signal, even if the deepest network does not come first."""
    names = dict.fromkeys(stage.name for stage in sorted(stages, key=lambda stage: -_depth(stages, stage.pick)))
    return list(names)


def _depth(stages: Sequence[Stage], pick: int) -> int:
    return sum(stage.pick == pick for stage in stages)


def _colours(stage: Stage) -> tuple[str, str]:
    """The colours of a stage and its text; neighbours differ, also in lightness."""
    if stage.block is not None:
        return (BLUE, "white") if stage.block % 2 else (SKY, INK)
    return {"stem": (ORANGE, "white"), "head": (DARK_GREY, "white")}.get(stage.name, (GREY, INK))
