"""The bars of an audit: energy by stage of the network; what is drawn (`audit_view`), and how (`draw_audit`)."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from autost_optuna import units
from autost_optuna.delivery.plots.figure import INK, dress
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.parts.kinds import KINDS
from autost_optuna.network.place import STATES
from autost_optuna.proxies.audited import ITSELF
from autost_optuna.proxies.energy import total_mj

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from autost_optuna.proxies.audited import Audit, AuditRow
    from autost_optuna.proxies.energy import Charge
    from autost_optuna.search.describe import Description

Row = TypeVar("Row", "Charge", "AuditRow")  # what a segment adds up

# The colour of each group of rows, and those for other groups, in their order; rows that read real values are hatched.
COLOURS = {
    **{group: colour for kind in KINDS.values() for group, colour in kind.colours.items()},
    STATES: "#bbbbbb",
    "static": "#888888",
}
OPERATIONS = {  # of torch, in the words of a plot
    "convolution": "convolutions",
    "addmm": "linear layers",
    "mm": "linear layers",
    "bmm": "products",
    "baddbmm": "products",
    "neurons": STATES,
}
PALETTE = ("#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#009e73", "#117733")
OTHERS = ("#882255", "#999933", "#aa4499", "#44aa99")
# Colours on which white is hard to read, with their text colour: INK if a dark page has another colour there.
WRITTEN = {"#56b4e9": INK, "#bbbbbb": INK, "#e69f00": "#111111", "#cc79a7": "#111111"}
STRIPES = {"fgcolor": "white", "fgopacity": 0.3, "solidity": 0.25}
ROW, ABOVE_AND_BELOW = 34, 230  # pixels of a stage's bar, and of everything around the bars
LEFT, LONGER = (
    0.38,
    1.75,
)  # share of the width of the left panel, and how much longer its axis is than its longest bar, to leave room for figures
CHARACTER = 0.014  # share of the right panel's width


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A piece of a stage's bar: the charges of one group."""

    stage: str
    group: str
    colour: str
    real: bool
    energy_mj: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditView:
    """What the audit plot shows: energy by stage of the network, split by what uses it."""

    title: str
    subtitle: str
    stages: tuple[str, ...]
    segments: tuple[Segment, ...]


def audit_view(description: "Description") -> AuditView:
    """The plot of an architecture's audit."""
    candidate = description.candidate
    parts: dict[tuple[str, str, bool], list[Charge]] = {}
    for charge in description.charges:
        parts.setdefault((charge.stage_title, charge.group, charge.kind == "mac"), []).append(charge)
    others = [group for group in dict.fromkeys(group for _, group, _ in parts) if group not in COLOURS]
    colours = {**COLOURS, **dict(zip(others, itertools.cycle(OTHERS), strict=False))}
    return AuditView(
        title=f"{units.energy(candidate.energy_mj)} per image{_most(description.charges)}: {_short(candidate.architecture)}",
        subtitle=f"{candidate.convention}; {candidate.provenance}",
        stages=tuple(dict.fromkeys(stage for stage, _, _ in parts)),
        segments=_segments(parts, colours, _charge_line),
    )


def any_view(name: str, audit: "Audit") -> AuditView:
    """The plot of an audit of any network, called `name`."""
    if not audit.rows:
        raise ValueError(f"{name} has no operation that costs energy, so nothing can be drawn; leave out --plot")
    stages = stages_of([row.module for row in audit.rows])
    parts: dict[tuple[str, str, bool], list[AuditRow]] = {}
    for row, stage in zip(audit.rows, stages, strict=True):
        group = OPERATIONS.get(row.operation, row.operation)
        parts.setdefault(("static" if row.kind == "static" else stage, group, row.kind == "mac"), []).append(row)
    groups = dict.fromkeys(group for _, group, _ in parts)
    colours = {
        **dict(zip(groups, itertools.cycle(PALETTE), strict=False)),
        STATES: COLOURS[STATES],
        "static": "#888888",
    }
    return AuditView(
        title=f"{units.energy(audit.energy_mj)} per image: {name}",
        subtitle=f"{audit.convention}; {units.counted(audit.images, 'image')}",
        stages=tuple(dict.fromkeys(stage for stage, _, _ in parts)),
        segments=_segments(parts, colours, _row_line),
    )


def _segments(
    parts: Mapping[tuple[str, str, bool], Sequence[Row]], colours: Mapping[str, str], line: Callable[[Row], str]
) -> tuple[Segment, ...]:
    """One for each part: a stage, a group, and whether it reads real values."""
    return tuple(
        Segment(
            stage=stage,
            group=group,
            colour=colours[group],
            real=real,
            energy_mj=math.fsum(row.energy_pj for row in rows) * 1e-9,
            lines=tuple(line(row) for row in rows),
        )
        for (stage, group, real), rows in parts.items()
    )


def stages_of(modules: Sequence[str]) -> list[str]:
    """The part of a network that each module belongs to: the path below what all share, down to the first number."""
    paths = [module.split(".") if module else [] for module in modules]
    filled = [path for path in paths if path]
    shared = 0
    while filled and all(len(path) > shared + 1 and path[shared] == filled[0][shared] for path in filled):
        shared += 1
    found = []
    for path in paths:
        below = path[shared:]
        size = 2 if len(below) > 1 and below[1].isdecimal() and not below[0].isdecimal() else 1
        found.append(".".join(below[:size]) or ITSELF)
    return found


def _row_line(row: "AuditRow") -> str:
    rate = "" if row.rate is None else f", rate {row.rate:.4f}"
    macs = f" {row.macs:,.0f} MACs" if row.macs else ""
    return f"{row.module or ITSELF}:{macs}{rate}, {row.energy_pj * 1e-6:,.3f} µJ"


def _most(charges: "Sequence[Charge]") -> str:
    """The most expensive stage: ", 60% of it in the stem"."""
    stages: dict[str, list[Charge]] = {}
    for charge in charges:
        stages.setdefault(charge.stage, []).append(charge)
    costs = {stage: total_mj(some) for stage, some in stages.items()}
    whole, dearest = math.fsum(costs.values()), max(costs, key=lambda stage: costs[stage])
    first = stages[dearest][0]
    where = f"the {first.stage_title}" if first.block is None else first.stage_title
    return f", {costs[dearest] / whole:.0%} of it in {where}" if whole else ""


def draw_audit(view: AuditView) -> "Figure":
    """The view as two panels of bars to the right, one per stage in the order of the signal.

    On the left, the energy of each stage and its share of the network's; on the right, the shares of what uses it.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    totals = {
        stage: math.fsum(segment.energy_mj for segment in view.segments if segment.stage == stage)
        for stage in view.stages
    }
    for group, real in dict.fromkeys((segment.group, segment.real) for segment in view.segments):
        found = [segment for segment in view.segments if (segment.group, segment.real) == (group, real)]
        shares = [segment.energy_mj / totals[segment.stage] if totals[segment.stage] else 0.0 for segment in found]
        bars = go.Bar(
            name=group + (", real-valued input" if real and group == "convolutions" else ""),
            legendgroup=f"{group}{real}",
            orientation="h",
            y=[segment.stage for segment in found],
            x=[segment.energy_mj for segment in found],
            marker={"color": found[0].colour, "pattern": {"shape": "/" if real else "", **STRIPES}},
            customdata=[[segment.energy_mj, "<br>".join(segment.lines)] for segment in found],
            hovertemplate=f"<b>%{{y}}</b>, {group}: %{{customdata[0]:.4g}} mJ<br>%{{customdata[1]}}<extra></extra>",
        )
        figure.add_trace(bars)
        figure.add_trace(
            go.Bar(bars).update(
                x=[100 * share for share in shares],
                xaxis="x2",
                showlegend=False,
                text=[_inside(group, share) for share in shares],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": WRITTEN.get(found[0].colour, "white"), "size": 12},
            )
        )
    dress(figure, view.title, view.subtitle)
    whole = math.fsum(totals.values())
    for stage, total in totals.items():
        share = f", {total / whole:.1%}" if whole else ""
        figure.add_annotation(
            text=f"{units.energy(total)}{share}",
            x=total,
            y=stage,
            xanchor="left",
            xshift=4,
            showarrow=False,
            font={"color": INK, "size": 12},
        )
    height = ROW * len(view.stages) + ABOVE_AND_BELOW
    figure.update_layout(
        barmode="stack",
        bargap=0.2,
        height=height,
        legend={"traceorder": "normal"},
        margin={"l": 80},
        uniformtext={"mode": "hide", "minsize": 10},
    )
    longest = max(totals.values())
    figure.update_layout(
        xaxis={
            "domain": [0, LEFT],
            "title": "energy (mJ per image)",
            "range": [0, longest * LONGER or 1],
            "nticks": 4,
        },
        xaxis2={"domain": [LEFT + 0.02, 1], "title": "spent on (%; striped: reads real values)", "range": [0, 100]},
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=view.stages,
        type="category",
        autorange="reversed",
    )
    return figure


def _inside(group: str, share: float) -> str:
    """The text in a bar: what its energy is spent on and its share of the stage's, as far as there is room."""
    whole = f"{group} {share:.0%}"
    return next((said for said in (whole, f"{share:.0%}") if share > CHARACTER * len(said)), "")


def _charge_line(charge: "Charge") -> str:
    rate = "" if charge.rate is None else f", rate {charge.rate:.4f}"
    macs = f" {charge.macs:,} MACs x {charge.steps}" if charge.macs else ""
    return f"{charge.name}:{macs}{rate}, {charge.energy_pj * 1e-6:,.3f} µJ"


def _short(architecture: Architecture) -> str:
    """An architecture for a title: width, depth and, if there are few, the blocks."""
    text = architecture.to_text()
    return text if len(text) <= 70 else ",".join(text.split(",")[:2])
