"""One HTML file with the results of a study: its content (`report_of`) and its page (`write_report`)."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.data import stand_in_warning
from autost_optuna.delivery import words
from autost_optuna.delivery.plots.figure import for_page, replacing
from autost_optuna.delivery.plots.page import render
from autost_optuna.delivery.plots.points import finding
from autost_optuna.delivery.plots.study import study_figures
from autost_optuna.delivery.reproduce import commands_of, files_of
from autost_optuna.delivery.trust import trust
from autost_optuna.front.convergence import StopRule
from autost_optuna.front.convergence import convergence_in_words as converged
from autost_optuna.front.front import in_plane
from autost_optuna.front.picks import knee_of, picks_of
from autost_optuna.network.genes import LABELS
from autost_optuna.search.baselines import alike, baselines_of, caveat
from autost_optuna.search.search import Search
from autost_optuna.search.summary import summarise
from autost_optuna.space.layout import USUAL
from autost_optuna.training.record import Dropped, Record
from autost_optuna.training.records import dropped_of, trainings_of
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SPACE = {  # choices, by their names
    "embed_dim": "C, the width",
    "depth": "depth",
    "mlp_ratio": "MLP ratio of a block",
    "neuron": "neuron",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The content of a report, as text that a template escapes; `figures` are by the names of `study_figures`."""

    name: str
    written: str
    question: str
    finding: str
    answer: str
    note: str
    space: words.Rows
    members: words.Rows
    members_said: str
    baselines: words.Rows
    caveat: str
    cards: tuple[words.Card, ...]
    unparted: str
    convergence: str
    health: words.Rows
    warning: str
    exact: str
    trust: tuple[str, ...]
    trained: words.Rows
    commands: tuple[str, ...]
    files: words.Rows
    provenance: words.Rows
    figures: "dict[str, Figure]"


def write_report(search: Search, path: StrPath, data_root: StrPath | None = None) -> None:
    """Write the report of a study to `path`, an .html file. ValueError for another ending, or without a front.

    Its images are in `data_root`, by default the study's folder; ValueError if a given folder does not hold them.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"{path} is not a page; name it .html")
    report = report_of(search, data_root)
    said = {field.name: getattr(report, field.name) for field in fields(Report)}
    page = render("report.html", said, {name: for_page(figure) for name, figure in report.figures.items()})
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def report_of(search: Search, data_root: StrPath | None = None) -> Report:
    """The content of a study's report, without details of the machine. ValueError without a front, or as in `write_report`."""
    members, settings, name = in_plane(search.front()), search.settings, search.study.study_name
    candidates, summary = search.candidates(), summarise(search)
    picks, (trainings, dropped, untrained) = picks_of(members), _trainings(search)
    bills, unparted = words.bills(search, picks, data_root)
    space, convention = settings.space, settings.convention
    form = " uniform" if space.uniform else ""
    knee = knee_of(picks)
    return Report(
        name=name,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        question=f"Which spiking transformers of the space {space.name}{form} give the most capacity for the least energy on "
        f"the task {settings.task.name}?",
        finding=finding(members),
        answer=words.answer(knee, members, summary.health),
        note=words.note_said(search),
        space=(
            ("space", f"{space.name}{form}: {space.size:,} architectures"),
            *((_title(name), space.in_words(name)) for name in space.choices),
            ("task", words.task(settings)),
            (
                "spikes are of",
                f"{units.images(settings.images, settings.seeds)} of {settings.data}, {words.seeds_said(settings)}"
                + words.table_said(search),
            ),
            ("energy convention", f"{convention.label}: {words.prices(settings)}"),
            ("constraints", str(settings.constraints)),
            *words.objectives(settings),
        ),
        members=tuple(words.member(one, knee) for one in words.few(search, members)),
        members_said=words.members_said(name, len(members)),
        baselines=tuple(words.baseline(group, members) for group in alike(baselines_of(search))),
        caveat=caveat(baselines_of(search)),
        cards=tuple(words.card(name, one, next((b for b in bills if b.pick == one), None)) for one in picks),
        unparted=unparted,
        convergence=words.sentence(converged(search.course().evidence(StopRule()))),
        health=words.health_rows(
            summary.health, summary.hypervolume, (summary.infeasible, summary.silent, summary.failed)
        ),
        warning=" ".join(
            words.sentence(text)
            for text in (stand_in_warning(settings.data, settings.task), summary.health.warning)
            if text
        ),
        exact=words.exact(search),
        trust=tuple(trust(search, summary.health, trainings, dropped, untrained)),
        trained=tuple(words.trained(trainings, candidates)),
        commands=tuple(commands_of(search, trainings)),
        files=tuple(files_of(settings, trainings)),
        provenance=(
            *((package, version) for package, version in settings.versions.items()),
            ("seed", str(settings.seed)),
            ("images' fingerprint", settings.fingerprint),
            ("convention's hash", convention.hash),
            ("population", f"{settings.population} (NSGA-II)"),
        ),
        figures=study_figures(search, bills),
    )


def _trainings(search: Search) -> tuple[list[Record], list[Dropped], str]:
    """The trained networks, those that dropped out, and why there are none, if so; the full reason may name a path here."""
    try:
        return trainings_of(search), dropped_of(search), ""
    except ValueError:
        name = search.study.study_name
        says = units.command("study", "front", name, "--trained")
        return [], [], f"no trained networks of {name} can be shown; {says} says why"


def _title(choice: str) -> str:
    """What a choice of a space is, in words."""
    if choice in SPACE or choice in USUAL:
        return SPACE.get(choice, choice.replace("_", " "))
    return f"{LABELS[choice]} of a block"
