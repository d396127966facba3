"""autost-optuna study front, plot: the members of the front, as a table and as a figure."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.exact import print_exact
from autost_optuna.cli.picks import budget, picks, selected
from autost_optuna.cli.study import quiet_optuna, rates_line
from autost_optuna.cli.trained import check_alone, print_rows, trained_figure, trained_option
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.architecture import table_of
from autost_optuna.proxies.goals import GOALS, check_plane

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from autost_optuna.search.search import Search

FEW_SEEDS = 5  # a bootstrap over K seeds is too narrow by the root of (K - 1) / K: 0.71 for two, 0.89 for five


@click.command(short_help="Print the Pareto front of a study.")
@options.study_argument("name")
@picks
@budget
@click.option(
    "--spread",
    is_flag=True,
    help="Add the spread of the energy, and the probability that the member is truly non-dominated.",
)
@trained_option
@click.option("--exact", is_flag=True, help="The exact front of the whole space, which study exact has measured.")
@options.output_format
@options.storage
def front(
    name: str,
    pick: str | None,
    max_energy: float | None,
    spread: bool,
    trained: bool,
    exact: bool,
    form: str,
    storage: str,
) -> None:
    """Print the Pareto front of the study NAME, by ascending energy.

    \b
    Example:
      autost-optuna study front demo --pick 5 --max-energy 1.5
      autost-optuna study front demo --exact --pick knee
      autost-optuna study front demo --trained
    """
    quiet_optuna()
    from autost_optuna.front.certainty import nondomination
    from autost_optuna.front.picks import knee
    from autost_optuna.search.baselines import baselines_of, caveat, lines
    from autost_optuna.search.catalogue import known_exact
    from autost_optuna.search.own import own_of, own_rows
    from autost_optuna.search.study import open_search

    search = open_search(name, storage)
    if trained:
        check_alone(pick=pick, max_energy=max_energy, spread=spread, exact=exact)
        print_rows(search, form)
        return
    if exact:
        if spread:
            raise ValueError("--spread is for the front of trials; leave it out, or leave out --exact")
        print_exact(search, known_exact(search), pick, max_energy, form)
        return
    whole = search.front()
    if spread:
        check_plane(search.settings.objectives, "the probability that --spread adds", "leave out --spread")
    chosen, members = knee(whole), selected(whole, search.settings.box, pick, max_energy)
    certainty = nondomination(search.candidates()) if spread else {}
    extra = [spread_row(member, certainty[member.architecture.key]) if spread else {} for member in members]
    beside = own_rows(search, own_of(search), members)
    if form != "table":
        row = front_row if form == "json" else flat_row
        rows = [{**row(member), **more, **own} for member, more, own in zip(members, extra, beside, strict=True)]
        printing.print_json(rows) if form == "json" else click.echo(units.csv_text(rows), nl=False)
    else:
        _print_front(members, chosen, extra, beside)
        tabled = "~ energy by the table of rates. " if any(member.mark for member in members) else ""
        printing.note(f"* knee. {tabled}Energy at initialisation: {rates_line(search)}")
        baselines = baselines_of(search)
        for label, words in lines(baselines, whole):
            printing.note(f"baseline {label}: {words}")
        if caveat(baselines):
            printing.note(caveat(baselines))
        if (whole_space := search.exact()) is not None:
            lists, members_of = units.command("study", "front", name, "--exact"), len(whole_space.members)
            printing.note(f"exact front: {lists} prints its {units.counted(members_of, 'member')}")
        if spread:
            printing.note(_spread_line(search))


@click.command(short_help="Draw the Pareto plot of a study.")
@options.study_argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="FILE.html, .json, .svg or .png.",
)
@click.option(
    "--figure",
    "what",
    type=click.Choice(["front", "hypervolume", "genes", "stages"]),
    default="front",
    show_default=True,
    help="The front; the hypervolume over trials; genes as parallel coordinates; the energy of picks by stage of the network.",
)
@click.option("--quantised", is_flag=True, help="Add each member's network without spikes, in 8-bit integers.")
@click.option("--exact", is_flag=True, help="Draw the exact front by itself, as of a study without trials.")
@picks
@budget
@trained_option
@options.data_root
@options.theme
@options.storage
def plot(
    name: str,
    output: Path,
    what: str,
    quantised: bool,
    exact: bool,
    pick: str | None,
    max_energy: float | None,
    trained: bool,
    data_root: Path | None,
    theme: str,
    storage: str,
) -> None:
    """Draw the Pareto plot of the study NAME, with its baselines, and its exact front if it was measured.

    The plot of a study without trials is of its exact front.
    With --trained, draw two fronts, predicted and measured, with a line from each prediction to its measurement.

    \b
    Example:
      autost-optuna study plot demo --pick 5 -o front.html
      autost-optuna study plot demo --exact --pick 5 -o exact.html
      autost-optuna study plot demo --trained -o trained.html
      autost-optuna study plot demo --figure genes --theme dark -o genes.html
    """
    quiet_optuna()
    from autost_optuna.delivery.plots.figure import check_ending, write_figure
    from autost_optuna.delivery.plots.study import exact_figure, front_figure
    from autost_optuna.search.catalogue import known_exact
    from autost_optuna.search.study import open_search

    check_ending(output)
    if data_root is not None and what != "stages":
        raise ValueError("--data-root is only for the figure stages; leave it out, or give --figure stages")
    search = open_search(name, storage)
    if trained:
        check_alone(figure=what != "front", quantised=quantised, exact=exact, pick=pick, max_energy=max_energy)
        figure = trained_figure(search)
    elif what != "front":
        others = {"--quantised": quantised, "--exact": exact, "--pick": pick, "--max-energy": max_energy}
        figure = _other_figure(search, what, others, data_root)
    else:
        whole = known_exact(search) if exact or (search.exact() and not search.candidates()) else None
        if whole and quantised:
            raise ValueError("--quantised is for the front of trials; leave it out, or leave out --exact")
        picking = pick is not None or max_energy is not None
        if whole:
            some = selected(whole.members, search.settings.box, pick, max_energy) if picking else []
            figure = exact_figure(search, whole, some, max_energy)
        else:
            marked = selected(search.front(), search.settings.box, pick, max_energy) if picking else []
            search.front()  # raises the reason if there is none
            figure = front_figure(search, quantised=quantised, picks=marked, budget_mj=max_energy)
    write_figure(figure, output, theme)
    click.echo(f"wrote {output}")


def _other_figure(search: "Search", what: str, others: Mapping[str, object], data_root: Path | None) -> "Figure":
    from autost_optuna.delivery.plots.study import genes_figure, hypervolume_figure, stages_figure

    for option, value in others.items():
        if value:
            raise ValueError(f"{option} is only for the front; leave it out, or --figure {what}")
    if what == "stages":
        return stages_figure(search, data_root)
    return {"hypervolume": hypervolume_figure, "genes": genes_figure}[what](search)


def front_row(candidate: Candidate) -> dict[str, Any]:
    """A member as a JSON row."""
    return {
        "number": candidate.number,
        "architecture": candidate.architecture.to_dict(),
        "flops": candidate.flops,
        "energy_mj": candidate.energy_mj,
        "params": candidate.params,
        "rates": candidate.rates,
        **dict(candidate.scores),
    }


def flat_row(candidate: Candidate) -> dict[str, Any]:
    """The same row without nesting, for CSV."""
    row = front_row(candidate)
    return {"number": row.pop("number"), **row.pop("architecture"), **row}


def spread_row(candidate: Candidate, probability: float | None) -> dict[str, Any]:
    """The spread of a member's energy over images and seeds, and how certain its place on the front is."""
    spread = {f"energy_{name}": value for name, value in asdict(candidate.spread).items()}
    return {**spread, "nondominated_probability": probability}


def _print_front(
    members: list[Candidate], chosen: Candidate, extra: list[dict[str, Any]], beside: list[dict[str, Any]]
) -> None:
    rows = []
    (_, widths), (_, depths), *genes = table_of([member.architecture for member in members]).items()
    for place, (member, more, own) in enumerate(zip(members, extra, beside, strict=True)):
        rows.append(
            [
                f"{'*' if member.number == chosen.number else ' '}{member.number}",
                widths[place],
                depths[place],
                units.significant(member.params / 1e6),
                f"{member.flops / 1e9:.3f}",
                member.mark + units.significant(member.energy_mj, 4),
                *(units.significant(value, 4) for _, value in member.scores),
                *map(_own_cell, own.values()),
                *_spread_cells(more),
                *(cells[place] for _, cells in genes),
            ]
        )
    titles = [title for title, _ in genes]
    added = ["std mJ", "low mJ", "high mJ", "error mJ", "P"] if extra[0] else []
    scores = [GOALS[name].label for name, _ in members[0].scores]
    own_names = [name.partition("_")[2] for name in beside[0]]
    columns = ["trial", "C", "depth", "M params", "GFLOPs", "mJ", *scores, *own_names, *added, *titles]
    printing.print_table(columns, rows, fold=titles)


def _own_cell(value: object) -> str:
    if value is None:
        return "-"
    return units.significant(value, 4) if isinstance(value, float) else str(value)


def _spread_cells(more: dict[str, Any]) -> list[str]:
    if not more:
        return []
    values = [more[f"energy_{name}_mj"] for name in ("std", "low", "high", "error")]
    digits = (2, 4, 4, 2)
    cells = ["-" if value is None else units.significant(value, n) for value, n in zip(values, digits, strict=True)]
    probability = more["nondominated_probability"]
    return [*cells, "-" if probability is None else f"{probability:.2f}"]


def _spread_line(search: "Search") -> str:
    settings = search.settings
    single = "std, low, high: energies of single images. P: probability that the member is non-dominated in mean energy"
    if settings.seeds > 1:
        few = "" if settings.seeds >= FEW_SEEDS else "; so few seeds make it overconfident"
        return f"{single}, {settings.seeds} seeds with their weights and images resampled, equal for all{few}"
    if settings.images > 1:
        return (
            f"{single}, the {settings.images} images resampled, the same for all; it says nothing about other initialisations, "
            "a study created with --seeds K does"
        )
    return f"{single}; one image says nothing about it, create a study with --seeds 8"
