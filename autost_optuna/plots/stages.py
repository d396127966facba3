"""Energy by stage of the picks of a front: what is drawn (`stages_view`), and how (`draw_stages`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.front import in_plane, knee
from autost_optuna.plots.figure import BLUE, GREY, INK, ORANGE, SKY, dress
from autost_optuna.plots.points import in_a_line
from autost_optuna.proxies.energy import Charge, estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.operations import operations, populations
from autost_optuna.settings import make_objective
from autost_optuna.study import Search

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COSTLY = 4  # operations that a pointer sees of a stage
DARK_GREY = "#555555"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A member of a front that stands out, and by what: "least energy", "knee", "most FLOPs"."""

    names: tuple[str, ...]
    candidate: Candidate

    @property
    def name(self) -> str:
        """All names in one."""
        return " and ".join(self.names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A pick with the charges that its energy is the sum of."""

    pick: Pick
    charges: tuple[Charge, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of a pick's bar: what a stage of the network costs."""

    pick: int
    name: str
    energy_mj: float
    share: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesView:
    """What the plot shows: a bar a pick, `labels` beside them, parted by stage in the order of the signal."""

    title: str
    subtitle: str
    labels: tuple[tuple[str, ...], ...]
    stages: tuple[Stage, ...]


def picks_of(members: Sequence[Candidate]) -> list[Pick]:
    """The picks of a front, by ascending energy; a member that is picked twice has both names. ValueError of an empty front."""
    chosen: dict[int, tuple[list[str], Candidate]] = {}
    members = in_plane(members)
    for name, member in (("least energy", members[:1]), ("knee", [knee(members)]), ("most FLOPs", members[-1:])):
        chosen.setdefault(id(member[0]), ([], member[0]))[0].append(name)
    return [Pick(names=tuple(names), candidate=member) for names, member in chosen.values()]


def bills_of(search: Search, picks: Sequence[Pick]) -> list[Bill]:
    """The bills of picks, their rates measured again as the search did, on its images; a second or so each.

    ValueError where the images are others now, or the packages that decide a figure.
    """
    objective, settings = make_objective(search.settings), search.settings
    bills = []
    for pick in picks:
        architecture = pick.candidate.architecture
        rates = mean_by_operation(objective.rates.measure(architecture))
        ledger, layers = operations(architecture, settings.task), populations(architecture, settings.task)
        charges = estimate_energy(ledger, rates, settings.convention, layers)
        bills.append(Bill(pick=pick, charges=tuple(charges)))
    return bills


def costliest(charges: Sequence[Charge], count: int) -> list[Charge]:
    """The charges of most energy."""
    return sorted(charges, key=lambda charge: -charge.energy_pj)[:count]


def stages_view(name: str, bills: Sequence[Bill]) -> StagesView:
    """The plot of the bills of a search called `name`. ValueError where there is none."""
    if not bills:
        raise ValueError(f"study {name} has no picks whose energy could be parted")
    first = bills[0].pick.candidate
    return StagesView(
        title=f"{name}: where the energy of the picks goes",
        subtitle=f"shares of an image's energy, blocks by their number; {first.convention}; {first.provenance}",
        labels=tuple(
            (bill.pick.name, f"trial {bill.pick.candidate.number}", units.energy(total_mj(bill.charges)))
            for bill in bills
        ),
        stages=tuple(stage for number, bill in enumerate(bills) for stage in _stages(number, bill)),
    )


def _stages(number: int, bill: Bill) -> list[Stage]:
    parts: dict[str, list[Charge]] = {}
    for charge in bill.charges:
        parts.setdefault(charge.stage, []).append(charge)
    whole = total_mj(bill.charges)
    return [
        Stage(
            pick=number,
            name=name.replace("blocks.", "block "),
            energy_mj=total_mj(charges),
            share=total_mj(charges) / whole,
            lines=(
                in_a_line(bill.pick.candidate.architecture),
                *(f"{one.name}: {units.energy(one.energy_pj * 1e-9)}" for one in costliest(charges, COSTLY)),
            ),
        )
        for name, charges in parts.items()
    ]


def draw_stages(view: StagesView) -> "Figure":
    """The view as bars to the right, each as long as the other: a share is read off where energies differ a hundredfold."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name in _order(view.stages):
        stages = [stage for stage in view.stages if stage.name == name]
        colour, ink = _colours(name)
        figure.add_bar(
            name=name,
            orientation="h",
            y=[stage.pick for stage in stages],
            x=[100 * stage.share for stage in stages],
            text=[
                name.removeprefix("block ") if "block" in name else f"{name}<br>{stage.share:.0%}" for stage in stages
            ],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": ink},
            marker={"color": colour, "line": {"color": "white", "width": 1}},
            customdata=[[stage.energy_mj, "<br>".join(stage.lines)] for stage in stages],
            hovertemplate=f"<b>{name}</b>: %{{customdata[0]:.4g}} mJ, %{{x:.1f}} %<br>%{{customdata[1]}}<extra></extra>",
        )
    dress(figure, view.title, view.subtitle)
    figure.update_layout(
        barmode="stack",
        bargap=0.25,
        showlegend=False,
        uniformtext={"mode": "hide", "minsize": 10},
        margin={"l": 118, "b": 55},
    )
    figure.update_xaxes(title="share of the energy (%)", range=[0, 100])
    figure.update_yaxes(
        tickvals=list(range(len(view.labels))),
        ticktext=["<br>".join((f"<b>{label[0]}</b>", *label[1:])) for label in view.labels],
        autorange="reversed",
    )
    return figure


def _order(stages: Sequence[Stage]) -> list[str]:
    """The stages in the order of the signal, though the deepest network may not come first."""
    names = dict.fromkeys(stage.name for stage in sorted(stages, key=lambda stage: -_depth(stages, stage.pick)))
    return list(names)


def _depth(stages: Sequence[Stage], pick: int) -> int:
    return sum(stage.pick == pick for stage in stages)


def _colours(stage: str) -> tuple[str, str]:
    """A stage's colour and its text's: neighbours differ, and in lightness too."""
    if stage.startswith("block "):
        return (BLUE, "white") if int(stage.removeprefix("block ")) % 2 else (SKY, INK)
    return {"stem": (ORANGE, "white"), "head": (DARK_GREY, "white")}.get(stage, (GREY, INK))
