"""`study fork` and `study delete`."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import warn_of_stand_in
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna

if TYPE_CHECKING:
    pass


@click.command(short_help="Start a new study from the results of another.")
@options.study_argument("name")
@click.argument("new")
@options.data_root
@options.energy
@options.device
@options.storage
def fork(name: str, new: str, data_root: Path | None, energy: str | None, device: str, storage: str) -> None:
    """Start the study NEW from the results of the study NAME, under the current packages, images and convention.

    Results are taken over if members of the front, measured again, give the same figures; otherwise NEW measures the
    members of the front first.

    \b
    Example:
      autost-optuna study fork demo demo2
    """
    quiet_optuna()
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.search.fork import fork as fork_study
    from autost_optuna.search.study import open_search

    convention = Convention.load(energy) if energy else None
    on = options.chosen_device(device)
    made = fork_study(open_search(name, storage), new, storage, convention=convention, data_root=data_root, device=on)
    if made.reason is None:
        click.echo(f"study {new}: {units.counted(made.copied, 'trial')} of {name} taken over")
    else:
        click.echo(
            f"study {new}: {units.counted(made.queued, 'member')} of the front of {name} to be measured again: {made.reason}"
        )
    warn_of_stand_in(made.search.settings.data, made.search.settings.task)
    printing.note(f"next: {options.hint('study', 'run', new, '--trials', '200', storage=storage)}")


@click.command(short_help="Delete a study and all its trials.")
@options.study_argument("name")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@options.storage
def delete(name: str, yes: bool, storage: str) -> None:
    """Delete the study NAME and all its trials; networks that were trained from it stay in the study NAME.trained.

    \b
    Example:
      autost-optuna study delete demo --yes
    """
    quiet_optuna()
    import sys

    from autost_optuna.search.catalogue import delete as delete_study
    from autost_optuna.search.ownership import find_trained, owner_of
    from autost_optuna.search.study import load_study, open_search

    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        click.confirm(f"delete study {name} and all its trials?", abort=True)
    of, kept = owner_of(load_study(name, storage, write=True)._storage, name), None
    with contextlib.suppress(ValueError):  # it is not a search, or it is ambiguous which networks belong to it
        kept = find_trained(open_search(name, storage))
    trials = delete_study(name, storage)
    click.echo(f"deleted study {name} with {units.counted(trials, 'trial')}")
    if of is not None:
        keep_board(open_search(of, storage, write=True))
    if kept is not None:
        printing.note(
            f"kept its trained networks; {options.hint('study', 'delete', kept, storage=storage)} deletes that too"
        )
