"""The board: what optuna-dashboard shows of a study beside its trials, which are figures, an explanatory note and files."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import optuna

from autost_optuna import units
from autost_optuna.delivery.plots.figure import TITLE as FIGURE_HEAD
from autost_optuna.delivery.plots.figure import dress, wrapped
from autost_optuna.delivery.plots.points import export_command
from autost_optuna.delivery.plots.study import exact_figure, study_figures
from autost_optuna.front.front import in_plane, nondominated
from autost_optuna.front.picks import Pick, knee_of, picks_of
from autost_optuna.proxies.energy import charge_rows
from autost_optuna.proxies.goals import GOALS, further
from autost_optuna.search.baselines import Baseline, baselines_of, caveat
from autost_optuna.search.baselines import lines as baseline_lines
from autost_optuna.search.bills import bills_of
from autost_optuna.search.enrol import name_objectives
from autost_optuna.search.ownership import find_trained
from autost_optuna.search.search import Search
from autost_optuna.search.summary import reached, summarise
from autost_optuna.storage.artifacts import FIGURES, folder_of, keep_artifact
from autost_optuna.training.records import trainings_of
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 1000  # most dominated candidates that a card draws: a journal keeps every figure that it ever stored
TITLE, SUBTITLE = 60, 74  # characters per line of a card, which is half a page wide
BUTTONS, HEAD = (
    34,
    50,
)  # pixels of plotly's buttons at the top of a card, and of its title and subtitle, one line each
LETTERS = 1.4  # size of a card's letters relative to its plot, compared with a page
ABOVE = "*What you write above this line stays.*"
# Notes of 0.1.0 hold this line, by which the text below it is found again: do not reword it.
BELOW = "*All between the two lines is written anew after each run. What you write below this one stays.*"
RULE = "\n---\n"


def write_board(search: Search, data_root: StrPath | None = None) -> None:
    """Store current figures, note and files of the search with its study; nothing if it has no candidate yet.

    Of a study without candidates, only the exact front is drawn, if it is known.
    Figures that need the study's images (in `data_root`, if they have moved) are removed if these are not here: a bill of
    earlier picks would be mistaken for a current one. OSError if the files cannot be stored.
    """
    picks = picks_of(members) if (members := nondominated(search.candidates())) else []
    if not picks:
        if front := search.exact():
            _write_figures(search, {FIGURES[0]: exact_figure(search, front, letters=LETTERS)})
        return
    if search.study.metric_names is None:  # optuna-dashboard loses them when it renames a study
        name_objectives(search.study, search.settings.objectives)
    bills = []
    with contextlib.suppress(ValueError):
        bills = bills_of(search, picks, data_root)
    _write_figures(search, study_figures(search, bills, most=MOST, letters=LETTERS))
    _write_note(search, picks)
    folder = folder_of(search.storage)
    if folder is not None:
        knee = knee_of(picks)
        audits = (units.csv_text(charge_rows(bill.charges)) for bill in bills if bill.pick.candidate is knee)
        command = units.command("describe", f"{search.study.study_name}:{knee.number}", "--format", "csv")
        keep_artifact("knee.json", json.dumps(knee.architecture.to_dict(), indent=2) + "\n", search.study, folder)
        keep_artifact(
            "knee-audit.csv", next(audits, f"not available after the last run: {command}\n"), search.study, folder
        )


def _write_figures(search: Search, figures: "Mapping[str, Figure]") -> None:
    """Store the figures that have changed, because a journal only grows. A line replaces those that no longer apply."""
    from optuna_dashboard import save_plotly_graph_object

    stored = figures_of(search.study)
    for name in FIGURES:
        if name in figures or name in stored:
            figure = _card(figures[name] if name in figures else _nothing(search.study.study_name, name))
            if stored.get(name) != figure.to_json():
                save_plotly_graph_object(search.study, figure, graph_object_id=name)


def figures_of(study: optuna.Study) -> dict[str, str]:
    """The figures that are stored with a study for optuna-dashboard, as JSON by name."""
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

    figures: dict[str, str] = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))
    return figures


def _nothing(study: str, name: str) -> "Figure":
    """The replacement of a figure that has nothing to draw now."""
    import plotly.graph_objects as go

    figure = go.Figure(layout={"xaxis": {"visible": False}, "yaxis": {"visible": False}})
    command = units.command("study", "plot", study, "--figure", name, "-o", f"{name}.html")
    dress(figure, f"{name}: not available after the last run", "" if name == "trained" else f"{command} says why")
    return figure


def _card(figure: "Figure") -> "Figure":
    """A figure for optuna-dashboard's box, half a page wide and 450 pixels high."""
    figure.update_layout(
        title={"font": {"size": 15}, "subtitle": {"font": {"size": 12}}, "pad": {"t": BUTTONS}},
        font={"size": 12},
        height=None,
        margin={"t": figure.layout.margin.t - FIGURE_HEAD + BUTTONS + HEAD, "b": 40},
        uirevision="kept",  # a zoom survives when the page refreshes
    )
    return wrapped(figure, TITLE, SUBTITLE)


def _write_note(search: Search, picks: Sequence[Pick]) -> None:
    """Write the note of the study. A person's text above or below it stays; text from before the first note goes below."""
    from optuna_dashboard import get_note, save_note

    before = get_note(search.study)
    above, below = own_note(before)
    body = f"{above}\n\n{ABOVE}\n\n{board_note(search, picks)}{RULE}\n{BELOW}\n\n{below}".strip()
    if body != before:
        save_note(search.study, body)


def own_note(whole: str) -> tuple[str, str]:
    """A person's text in a study's note, above and below the generated text, even if one of our lines was deleted."""
    above, found, rest = whole.partition(ABOVE)
    if not found:
        above, rest = "", whole
    for end in (BELOW, RULE) if found else (BELOW,):
        if end in rest:
            return above.strip(), rest.partition(end)[2].strip()
    return above.strip(), rest.strip()


def board_note(search: Search, picks: Sequence[Pick]) -> str:
    """The study's note in Markdown: the question, what the plots show, the picks and how to use them."""
    settings, name = search.settings, search.study.study_name
    summary, near = summarise(search), reached(search)
    health = summary.health
    best = knee_of(picks)
    others = [GOALS[name].label for name in further(settings.objectives)]
    goals = (
        "both" if not others else f"all of FLOPs, energy, {', '.join(others)}; figures and picks are of the first two"
    )
    exact = "" if near is None else f", {near.share:.1%} of the exact front's"
    lines = [
        f"# {quoted(name)}",
        "",
        f"Which spiking transformers of the space **{quoted(settings.space.name)}** ({settings.space.size:,} architectures) "
        f"give the most capacity for the least energy on the task **{quoted(settings.task.name)}**? Nothing is trained to "
        "find out.",
        "",
        "- **Up is better: FLOPs** per image, counted exactly, which stand for the accuracy after training.",
        f"- **Left is better: energy** per image in mJ, estimated under {quoted(best.convention)} from the spikes of the "
        f"network ({quoted(best.conditions)}). It ranks architectures and is not a measurement of a trained network.",
        f"- No architecture beats a member of the **front** in {goals}. From the **knee** on, more FLOPs cost more energy.",
        "- The dashboard's own Pareto plot has FLOPs to the right and energy up: there, right and down is better.",
        "",
        f"{units.counted(health.trials, 'trial')}, {units.counted(health.unique, 'architecture')}, "
        f"{health.front_size} on the front, hypervolume {summary.hypervolume:.4f}{exact}.",
        "",
        *([f"**Warning: {health.warning}.**", ""] if health.warning else []),
        "| pick | trial | architecture | FLOPs | energy | parameters |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
        *(_row(pick) for pick in picks),
        "",
        "```sh",
        units.command("train", name, "--trial", str(best.number)),
        export_command(name, str(best.number)),
        "```",
        "",
    ]
    if baselines := baselines_of(search):
        lines += _baselines(search, baselines)
    if trainings_of(search):
        lines.insert(-1, f"Its trained networks are in the study {quoted(find_trained(search) or '')}.\n")
    return "\n".join(lines)


def _baselines(search: Search, baselines: Sequence[Baseline]) -> list[str]:
    """The baselines, and how they differ from published networks."""
    members = in_plane(nondominated(search.candidates()))
    found = (f"- {quoted(label)}: {words}" for label, words in baseline_lines(baselines, members))
    return ["Baselines, the diamonds of the figure:", "", *found, "", caveat(baselines), ""]


def _row(pick: Pick) -> str:
    one = pick.candidate
    figures = (units.count(one.flops, "FLOPs"), units.energy(one.energy_mj) + one.remark, units.parameters(one.params))
    return f"| {pick.name} | {one.number} | {quoted(one.architecture.to_text())} | {' | '.join(figures)} |"


def quoted(text: str) -> str:
    """Text escaped for Markdown."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|~&" else sign for sign in text)
