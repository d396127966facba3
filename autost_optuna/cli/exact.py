"""autost-optuna study exact: the front of the whole space."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.picks import budget, picked, picks, selected
from autost_optuna.cli.study import quiet_optuna, rates_line
from autost_optuna.network.architecture import Architecture
from autost_optuna.space.sharing import BLOCK

if TYPE_CHECKING:
    from autost_optuna.search.exact import ExactFront
    from autost_optuna.search.search import Search


@click.command(short_help="Measure the exact front of a study's space.")
@options.study_argument("name")
@click.option(
    "--measure",
    type=click.IntRange(min=1),
    help="Measure at most this many members, if the front comes from a table of rates. Default: all.",
)
@click.option(
    "--enqueue",
    type=click.IntRange(min=1),
    metavar="K",
    help="Queue the K members with the largest joint hypervolume, within --max-energy, as the next trials of study run.",
)
@picks
@budget
@options.data_root
@options.device
@options.output_format
@options.storage
def exact(
    name: str,
    measure: int | None,
    enqueue: int | None,
    pick: str | None,
    max_energy: float | None,
    data_root: Path | None,
    device: str,
    form: str,
    storage: str,
) -> None:
    """Measure the exact front of the space of the study NAME, print its members, and store it with the study.

    A space whose blocks share choices is measured completely, any other by classes of equal FLOPs and parameters: exact in
    FLOPs, and in energy up to the spread within a class, which is measured and printed. With more than 20,000 of them, spike
    rates are measured for every part at every place. They give the energy of all networks, so the front of the whole space
    is computed, and its members are measured. The error of this table is printed. Nothing here uses trials of the study; for
    a member that is already a trial, the column "trial" is its number. With --enqueue, members become trials, which every
    figure, report and command takes.

    \b
    Example:
      autost-optuna study exact demo
      autost-optuna study exact demo --pick 5 --max-energy 1.5
      autost-optuna study exact demo --enqueue 20
    """
    quiet_optuna()
    from autost_optuna.front.picks import within
    from autost_optuna.search.study import find_exact, open_search, queue_members

    search = open_search(name, storage, write=True)
    with printing.interruptible() as stopped, printing.bars("architectures") as update:

        def on_done(done: int, total: int) -> None:
            if stopped():
                raise click.Abort
            update("measuring", done, total, "")

        front = find_exact(
            search, data_root=data_root, device=options.chosen_device(device), measure=measure, on_done=on_done
        )
    print_exact(search, front, pick, max_energy, form)
    if enqueue:
        some = front.members if max_energy is None else within(front.members, max_energy)
        queued = queue_members(search, picked(some, search.settings.box, enqueue))
        printing.note(f"{units.counted(queued, 'member')} queued; the next study run begins with what is queued")
    keep_board(search, data_root)


def print_exact(search: "Search", front: "ExactFront", pick: str | None, max_energy: float | None, form: str) -> None:
    """Print the members of an exact front that --pick and --max-energy select, in any form."""
    from autost_optuna.search.exact import member_rows

    kept = set(map(id, selected(front.members, search.settings.box, pick, max_energy)))
    every = enumerate(zip(front.members, member_rows(front, search.candidates()), strict=True), 1)
    numbered = {place: row for place, (member, row) in every if id(member) in kept}
    rows = list(numbered.values())
    if form == "json":
        printing.print_json({**asdict(front), "members": rows})
    elif form == "csv":
        flat = [{"number": row.pop("number"), **row.pop("architecture"), **row} for row in rows]
        click.echo(units.csv_text(flat), nl=False)
    else:
        _print_members(numbered)
        _print_exact(search, front)
        _print_hint(search, rows)


def _print_members(rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Print members by their numbers on the front."""
    cells = [
        [
            str(place),
            "-" if row["number"] is None else str(row["number"]),
            units.significant(row["params"] / 1e6),
            f"{row['flops'] / 1e9:.3f}",
            units.significant(row["energy_mj"], 4),
            Architecture.from_dict(row["architecture"]).to_text(),
        ]
        for place, row in rows.items()
    ]
    text = ["architecture"]
    printing.print_table(["member", "trial", "M params", "GFLOPs", "mJ", *text], cells, left=text, fold=text)


def _print_exact(search: "Search", front: "ExactFront") -> None:
    if table := front.table:
        what = "members of the front"
        click.echo(
            f"table of {table.entries:,} parts in {units.duration(front.table_s)}, front of all "
            f"{search.settings.space.size:,} architectures under it in {units.duration(front.search_s)}"
        )
        click.echo(table.in_words)
    elif search.settings.space.sharing.unit != BLOCK:
        what = "the whole space"
    else:
        what = f"one of each of {front.classes:,} classes, and more to see how these spread"
    spent = units.duration(front.duration_s - front.table_s - front.search_s)
    click.echo(f"measured {units.counted(front.evaluated, 'architecture')} in {spent}: {what}")
    under = " under it" if table else ""
    others = f" and {front.unmeasured:,} known by the table alone" if front.unmeasured else ""
    members = units.counted(len(front.members), "member")
    click.echo(f"exact front{under}: {members}{others}, hypervolume {front.hypervolume:.4f}")
    spread = front.spread
    if spread:
        click.echo(
            f"inside a class, energies lie {spread.low:+.3%} to {spread.high:+.3%} from the measured one "
            f"(mean {spread.mean:+.3%}, {units.counted(spread.samples, 'sample')}); with the lowest seen everywhere, "
            f"hypervolume {front.best_hypervolume:.4f}"
        )
    printing.note(f"Energy at initialisation: {rates_line(search)}")


def _print_hint(search: "Search", rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a hint on what to do with members that are not trials."""
    from autost_optuna.search.catalogue import MEMBER

    name = search.study.study_name
    if any(row["number"] is None for row in rows):
        audits, trains = units.command("describe", f"{name}{MEMBER}:N"), units.command("train", name, "--exact", "K")
        printing.note(f"{audits} audits member N, {trains} trains K of them, export --exact N takes N away")
