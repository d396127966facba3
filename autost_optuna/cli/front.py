"""autost-optuna study front, plot: the members of the front, in figures and as a figure."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.cli import options, show
from autost_optuna.cli.study import quiet_optuna, rates_line

if TYPE_CHECKING:
    from autost_optuna.study import Search

FEW_SEEDS = 5  # a bootstrap over K seeds is too narrow by root (K - 1) / K: 0.71 at two, 0.89 at five


@click.command()
@click.argument("name")
@click.option("--pick", type=click.Choice(["knee"]), help="Only this member.")
@click.option(
    "--spread",
    is_flag=True,
    help="Add how the energy varies, and the probability that the member is truly non-dominated.",
)
@options.output_format
@options.storage
def front(name: str, pick: str | None, spread: bool, form: str, storage: str) -> None:
    """Print the Pareto front of the study NAME, by ascending energy.

    \b
    Example:
      autost-optuna study front demo -f csv
    """
    quiet_optuna()
    from autost_optuna.front import knee, nondomination
    from autost_optuna.study import open_search

    search = open_search(name, storage)
    members = search.front()
    chosen = knee(members)
    if pick:
        members = [chosen]
    certainty = nondomination(search.candidates()) if spread else {}
    extra = [spread_row(member, certainty[member.architecture.key]) if spread else {} for member in members]
    if form == "json":
        show.print_json([{**front_row(member), **more} for member, more in zip(members, extra, strict=True)])
    elif form == "csv":
        rows = [{**flat_row(member), **more} for member, more in zip(members, extra, strict=True)]
        click.echo(show.csv_text(rows), nl=False)
    else:
        _print_front(members, chosen, extra)
        show.note(f"* knee. Energy at initialisation: {rates_line(search)}")
        if spread:
            show.note(_spread_line(search))


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="FILE.html, .svg or .png."
)
@click.option("--quantised", is_flag=True, help="Add each member's network without spikes, in 8-bit integers.")
@options.storage
def plot(name: str, output: Path, quantised: bool, storage: str) -> None:
    """Draw the Pareto plot of the study NAME.

    \b
    Example:
      autost-optuna study plot demo -o front.html
    """
    quiet_optuna()
    from autost_optuna.plots.figure import write_figure
    from autost_optuna.plots.front import draw_front, front_view
    from autost_optuna.study import open_search

    search = open_search(name, storage)
    search.front()
    write_figure(draw_front(front_view(name, search.candidates(), quantised=quantised)), output)
    click.echo(f"wrote {output}")


def front_row(candidate: Candidate) -> dict[str, Any]:
    """A member as DESIGN's JSON row."""
    return {
        "number": candidate.number,
        "architecture": candidate.architecture.to_dict(),
        "flops": candidate.flops,
        "energy_mj": candidate.energy_mj,
        "params": candidate.params,
    }


def flat_row(candidate: Candidate) -> dict[str, Any]:
    """The same row without nesting, for CSV."""
    row = front_row(candidate)
    return {"number": row.pop("number"), **row.pop("architecture"), **row}


def spread_row(candidate: Candidate, probability: float | None) -> dict[str, Any]:
    """How a member's energy varies over images and seeds, and how sure its place on the front is."""
    spread = {f"energy_{name}": value for name, value in asdict(candidate.spread).items()}
    return {**spread, "nondominated_probability": probability}


def _print_front(members: list[Candidate], chosen: Candidate, extra: list[dict[str, Any]]) -> None:
    rows = []
    for member, more in zip(members, extra, strict=True):
        heads, ratios = (part.split("=")[1] for part in member.architecture.to_text().split(",")[2:])
        rows.append(
            [
                f"{'*' if member.number == chosen.number else ' '}{member.number}",
                str(member.architecture.embed_dim),
                str(member.architecture.depth),
                f"{member.params / 1e6:.2f}",
                f"{member.flops / 1e9:.3f}",
                units.significant(member.energy_mj, 4),
                *_spread_cells(more),
                heads,
                ratios,
            ]
        )
    added = ["std mJ", "low mJ", "high mJ", "error mJ", "P"] if extra[0] else []
    columns = ["trial", "C", "depth", "M params", "GFLOPs", "mJ", *added, "heads", "ratio"]
    show.print_table(columns, rows, fold=["heads", "ratio"])


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
        few = "" if settings.seeds >= FEW_SEEDS else "; so few make it too sure"
        return f"{single}, {settings.seeds} seeds with their weights and images drawn anew, alike for all{few}"
    if settings.images > 1:
        return (
            f"{single}, the {settings.images} images drawn anew, alike for all; it says nothing of other initialisations, "
            "a study created with --seeds K does"
        )
    return f"{single}; one image says nothing of it, create a study with --seeds 8"
