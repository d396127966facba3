"""The bars of an audit: energy by stage of the network; what is drawn (`audit_view`), and how (`draw_audit`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.architecture import Architecture
from autost_optuna.plots.figure import dress
from autost_optuna.proxies.energy import total_mj

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from autost_optuna.objective import Description
    from autost_optuna.proxies.energy import Charge

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
    dress(figure, view.title, view.subtitle)
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    figure.update_xaxes(
        title="stage (hatched: reads real values)",
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
