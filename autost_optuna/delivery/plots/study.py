"""All figures of a study, in reading order."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.plots.convergence import convergence_view, draw_convergence
from autost_optuna.delivery.plots.front import Overlay, draw_front, exact_view, front_view
from autost_optuna.delivery.plots.genes import draw_genes, genes_view
from autost_optuna.delivery.plots.points import BUDGET, MOST
from autost_optuna.delivery.plots.stages import draw_stages, stages_view
from autost_optuna.delivery.plots.trained import draw_measured, draw_trained, trained_view
from autost_optuna.front.candidate import TABLE, Candidate
from autost_optuna.front.picks import picks_of
from autost_optuna.search.baselines import baselines_of
from autost_optuna.search.bills import Bill, bills_of
from autost_optuna.search.exact import ExactFront, Member
from autost_optuna.search.search import Search
from autost_optuna.training.records import trainings_of
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def study_figures(
    search: Search, bills: Sequence[Bill], most: int = MOST, *, letters: float = 1.0
) -> "dict[str, Figure]":
    """The figures that have something to draw, by their names in FIGURES, with at most `most` dominated candidates.

    Without `bills` of the picks there is no figure of stages. With `letters` larger relative to a plot than in a page (1.0),
    fewer labels fit, and trained networks have only their measured panel. Raises ValueError if the study has no front.
    """
    search.front()  # raises the reason if there is none
    name, candidates = search.study.study_name, search.candidates()
    figures = {
        "front": front_figure(search, most=most, letters=letters),
        "hypervolume": hypervolume_figure(search),
        "genes": draw_genes(genes_view(name, candidates, most)),
    }
    if bills:
        figures["stages"] = draw_stages(stages_view(name, bills), letters)
    with contextlib.suppress(ValueError):  # there are none, or they belong to another search with that name
        trained = trained_view(name, candidates, trainings_of(search))
        figures["trained"] = draw_measured(trained) if letters > 1 else draw_trained(trained)
    return figures


def front_figure(
    search: Search,
    *,
    quantised: bool = False,
    picks: Sequence[Candidate] = (),
    budget_mj: float | None = None,
    most: int = MOST,
    letters: float = 1.0,
) -> "Figure":
    """The Pareto plot of a study with its baselines, exact front and energy bound. Raises ValueError without a candidate."""
    overlay = Overlay(
        quantised=quantised,
        exact=search.exact(),
        picks=picks,
        baselines=baselines_of(search),
        limits=_limits(search, budget_mj),
    )
    return draw_front(front_view(search.study.study_name, search.candidates(), overlay, most=most), letters)


def exact_figure(
    search: Search,
    front: ExactFront,
    picks: Sequence[Member] = (),
    budget_mj: float | None = None,
    *,
    letters: float = 1.0,
) -> "Figure":
    """The exact front of a study by itself, with its baselines and energy bound."""
    settings = search.settings
    overlay = Overlay(picks=picks, baselines=baselines_of(search), limits=_limits(search, budget_mj))
    images = units.images(settings.images, settings.seeds)
    seeds = units.seeds(settings.seed, settings.seeds)
    said = (
        f"{units.counted(settings.space.size, 'architecture')} of {settings.space.name}; {settings.convention.label}; "
        f"{images} of {settings.data}, {seeds}, weights at initialisation"
    )
    return draw_front(exact_view(search.study.study_name, front, said, overlay), letters)


def _limits(search: Search, budget_mj: float | None) -> dict[str, float]:
    """The energy bounds in mJ to draw, by name."""
    bound = search.settings.constraints.max_energy_mj
    limits = {BUDGET: budget_mj, "constraint": bound if bound != budget_mj else None}
    return {limit: energy_mj for limit, energy_mj in limits.items() if energy_mj is not None}


def hypervolume_figure(search: Search) -> "Figure":
    """The hypervolume over the trials of a study. ValueError if none is finished."""
    return draw_convergence(
        convergence_view(
            search.study.study_name, search.course(), search.exact(), by_table=search.settings.rates == TABLE
        )
    )


def genes_figure(search: Search) -> "Figure":
    """The genes of a study as parallel coordinates. ValueError if it has no candidate."""
    return draw_genes(genes_view(search.study.study_name, search.candidates()))


def stages_figure(search: Search, data_root: StrPath | None = None) -> "Figure":
    """Energy by stage of a study's picks. ValueError if it has no front, or its images have changed."""
    return draw_stages(stages_view(search.study.study_name, bills_of(search, picks_of(search.front()), data_root)))
