"""autost-optuna study exact: the front of the whole space, where it can be enumerated."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, show
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna, rates_line

if TYPE_CHECKING:
    from autost_optuna.exact import ExactFront, Member
    from autost_optuna.study import Search


@click.command(short_help="Measure the exact front of a study's space.")
@options.study_argument("name")
@options.data_root
@options.device
@options.output_format
@options.storage
def exact(name: str, data_root: Path | None, device: str, form: str, storage: str) -> None:
    """Measure the exact front of the space of the study NAME, and store it with the study.

    A uniform space is measured whole, another by its classes of equal width, depth and hidden units: exact in FLOPs, and in
    energy up to the spread inside a class, which is measured and printed. No trial of the study is spent.

    \b
    Example:
      autost-optuna study exact demo
    """
    quiet_optuna()
    from autost_optuna.study import find_exact, open_search

    search = open_search(name, storage, write=True)
    with show.interruptible() as stopped, show.bars("architectures") as update:

        def on_done(done: int, total: int) -> None:
            if stopped():
                raise click.Abort
            update("measuring", done, total, "")

        front = find_exact(search, data_root=data_root, device=options.chosen_device(device), on_done=on_done)
    if form == "json":
        rows = [{**member_row(member), "architecture": member.architecture.to_dict()} for member in front.members]
        show.print_json({**asdict(front), "members": rows})
    elif form == "csv":
        rows = [{**member.architecture.to_dict(), **member_row(member)} for member in front.members]
        click.echo(units.csv_text(rows), nl=False)
    else:
        _print_exact(search, front)
    keep_board(search, data_root)


def member_row(member: "Member") -> dict[str, Any]:
    """The figures of a member."""
    return {"flops": member.flops, "energy_mj": member.energy_mj, "params": member.params}


def _print_exact(search: "Search", front: "ExactFront") -> None:
    whole = search.settings.space.uniform
    click.echo(
        f"measured {units.counted(front.evaluated, 'architecture')} in {units.duration(front.duration_s)}: "
        + (
            "the whole space"
            if whole
            else f"one of each of {front.classes:,} classes, and more to see how these spread"
        )
    )
    click.echo(f"exact front: {units.counted(len(front.members), 'member')}, hypervolume {front.hypervolume:.4f}")
    spread = front.spread
    if spread:
        click.echo(
            f"inside a class, energies lie {spread.low:+.3%} to {spread.high:+.3%} from the measured one "
            f"(mean {spread.mean:+.3%}, {units.counted(spread.samples, 'sample')}); with the lowest seen everywhere, "
            f"hypervolume {front.best_hypervolume:.4f}"
        )
    show.note(f"Energy at initialisation: {rates_line(search)}")
