"""Parallel coordinates of the genes: what is drawn (`genes_view`), and how (`draw_genes`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.plots.figure import BLUE, GREY, INK, dress, legend_of_part, ticks
from autost_optuna.delivery.plots.points import thin
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import part
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.form import LABELS as LABELS_OF_FORM
from autost_optuna.network.form import NAMES
from autost_optuna.network.genes import LABELS
from autost_optuna.network.neurons.kinds import neuron_text
from autost_optuna.proxies.goals import GOALS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 1500  # lines hide each other more than points do
FEW = 12  # up to this many choices of a gene, all have a tick


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A gene or figure with one value per architecture; figures are logarithmic. With `words`, values are places in them."""

    label: str
    values: tuple[float, ...]
    logarithmic: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GenesView:
    """What the plot shows: one axis per gene and figure. The last architectures are those on the front."""

    title: str
    subtitle: str
    axes: tuple[Axis, ...]
    on_front: tuple[bool, ...]


def genes_view(name: str, candidates: Sequence[Candidate], most: int = MOST) -> GenesView:
    """The plot of a search called `name`, with at most `most` dominated candidates. ValueError if there is no candidate."""
    members, dominated = part(candidates)
    if not members:
        raise ValueError(
            f"study {name} has no candidate yet; run {units.command('study', 'run', name, '--trials', '100')}"
        )
    drawn = [*thin(dominated, min(most, MOST)), *members]
    grey = legend_of_part("grey: dominated", len(drawn) - len(members), len(dominated))
    mixed = any(c.architecture.mixer for c in drawn)
    shares = "mixers: share of the blocks; " if mixed else ""
    known = "; energies of dominated ones by the table of rates" if any(c.mark for c in drawn) else ""
    return GenesView(
        title=f"{name}: what the {units.counted(len(members), 'member')} of the front have in common",
        subtitle=f"blue: on the front; {grey}; {shares}drag along an axis to choose{known}",
        axes=(
            Axis(label="C", values=tuple(c.architecture.embed_dim for c in drawn)),
            Axis(label="depth", values=tuple(c.architecture.depth for c in drawn)),
            *_form_axes([c.architecture for c in drawn]),
            *_gene_axes([c.architecture for c in drawn]),
            Axis(label="mJ", values=tuple(c.energy_mj for c in drawn), logarithmic=True),
            Axis(label="GFLOPs", values=tuple(c.flops / 1e9 for c in drawn), logarithmic=True),
            *(Axis(label=GOALS[n].label, values=tuple(c.value(n) for c in drawn)) for n, _ in members[0].scores),
        ),
        on_front=(False,) * (len(drawn) - len(members)) + (True,) * len(members),
    )


def _form_axes(architectures: Sequence[Architecture]) -> list[Axis]:
    """One axis for each choice per network in which architectures differ, for the number of stages, and for the neuron."""
    chosen = {
        LABELS_OF_FORM.get(name, name): [str(getattr(one.form, name) or "the task's") for one in architectures]
        for name in NAMES
        if name not in ("depths", "widths")
    }
    chosen["stages"] = [str(len(one.stages)) for one in architectures]
    chosen["neuron"] = [neuron_text(one.neuron) for one in architectures]
    axes = []
    for label, words in chosen.items():
        known = tuple(sorted(set(words)))
        if len(known) > 1:
            axes.append(Axis(label=label, values=tuple(map(known.index, words)), words=known))
    return axes


def _gene_axes(architectures: Sequence[Architecture]) -> list[Axis]:
    """One axis per gene of the blocks, a number: the mean over the blocks that have it, 0 if none has.

    Where mixers differ, each of their words has an axis: its share of a network's blocks.
    """
    genes = [architecture.genes for architecture in architectures]
    there = {name for one in genes for name in one}
    axes = []
    if "mixer" in there:
        axes += _word_axes([[part.word for part in architecture.mixers] for architecture in architectures])
    for name in LABELS:
        if name in there - {"mixer"}:
            values = [[value for value in one.get(name, ()) if value is not None] for one in genes]
            axes.append(Axis(label=LABELS[name], values=tuple(fmean(some) if some else 0.0 for some in values)))
    return axes


def _word_axes(words: Sequence[Sequence[str]]) -> list[Axis]:
    """One axis per word, if there are several: its share of the words of each architecture."""
    known = sorted({word for some in words for word in some})
    return [
        Axis(label=word, values=tuple(some.count(word) / len(some) for some in words))
        for word in known
        if len(known) > 1
    ]


def draw_genes(view: GenesView) -> "Figure":
    """The view as one line per architecture; genes of blocks are means over them. Members lie above the others."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Parcoords(
            dimensions=[_dimension(axis) for axis in view.axes],
            line={
                "color": [int(on) for on in view.on_front],
                "colorscale": [[0, GREY], [1, BLUE]],
                "cmin": 0,
                "cmax": 1,
            },
            unselected={"line": {"opacity": 0.08, "color": GREY}},
            labelfont={"size": 14, "color": INK},
            tickfont={"size": 12, "color": INK},
            rangefont={"size": 10, "color": "rgba(0,0,0,0)"},  # the ticks show it
        )
    )
    dress(figure, view.title, view.subtitle)
    figure.update_layout(margin={"l": 46, "r": 46, "t": 140, "b": 30})
    return figure


def _dimension(axis: Axis) -> dict[str, object]:
    if axis.logarithmic:
        marks = ticks(axis.values)
        values, places = ([math.log10(value) for value in row] for row in (axis.values, marks.pop("tickvals")))
        ends = [min([*values, *places]), max([*values, *places])]
        return {"label": axis.label, "values": values, "tickvals": places, "range": ends, **marks}
    if axis.words:
        return {
            "label": axis.label,
            "values": axis.values,
            "tickvals": list(range(len(axis.words))),
            "ticktext": axis.words,
        }
    choices = sorted(set(axis.values))
    whole = all(value == int(value) for value in choices)
    return {
        "label": axis.label,
        "values": axis.values,
        **(
            {"tickvals": choices, "ticktext": [f"{value:g}" for value in choices]}
            if whole and len(choices) <= FEW
            else {}
        ),
    }
