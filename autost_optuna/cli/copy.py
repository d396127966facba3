"""autost-optuna study copy, rescue: copy a study to another storage; save what is left of a damaged one."""

from pathlib import Path

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna


@click.command(short_help="Copy a study into another storage.")
@options.study_argument("name")
@click.option("--to", required=True, metavar="FILE|URL", help="The storage to copy into; created if it does not exist.")
@click.option("--as", "new", metavar="NEW", help="Another name for the copy.")
@options.storage
def copy(name: str, to: str, new: str | None, storage: str) -> None:
    """Copy the study NAME with all its trials into another storage, completely or not at all; running trials become failed.

    The networks that were trained from it are a separate study, NAME.trained.

    Into SQLite and PostgreSQL 20,000 trials take seconds; into a journal file or over gRPC they are copied one by one.

    \b
    Example:
      autost-optuna study copy demo --to sqlite:///team.db
    """
    quiet_optuna()
    from autost_optuna.search.study import TRAINED, check_name, load_study, open_search
    from autost_optuna.storage.artifacts import artifacts_of, folder_of
    from autost_optuna.storage.artifacts import copy as copy_files
    from autost_optuna.storage.location import shown
    from autost_optuna.storage.transfer import copy_study
    from autost_optuna.training.records import copy_trained

    def on_slow(trials: int) -> None:
        printing.note(f"copying {units.counted(trials, 'trial')} one by one, which takes minutes for many thousands")

    study, behind = load_study(name, storage), 0
    if TRAINED in study.user_attrs:
        made, behind = copy_trained(study, storage, to, name=new)
    else:
        check_name(new or name)
        made = copy_study(open_search(name, storage).study, to, name=new, on_slow=on_slow)
        behind = copy_files(artifacts_of(study, own=False), folder_of(storage), folder_of(to))
    click.echo(f"copied {units.counted(made.trials, 'trial')} of {name} to study {new or name} in {shown(to)}")
    if made.cut_off:
        printing.note(f"{units.counted(made.cut_off, 'trial')} still running: failed in the copy")
    if behind:
        printing.note(f"{units.counted(behind, 'file')} not copied: gone, or one of the storages is no file here")
    if TRAINED not in study.user_attrs:
        keep_board(open_search(new or name, to, write=True))


@click.command(short_help="Save what is left of a damaged journal.")
@click.argument("journal", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="NEW",
    help="The file, which must not exist.",
)
def rescue(journal: Path, output: Path) -> None:
    """Save the studies of the damaged journal FILE to a new file, and list what is lost; FILE is not changed.

    All whole lines are kept. Trials keep their numbers: a failed trial replaces one whose lines are all lost.

    \b
    Example:
      autost-optuna study rescue autost.journal -o rescued.journal
    """
    quiet_optuna()
    from autost_optuna.search.rescue import rescue as rescue_journal

    made = rescue_journal(journal, output)
    click.echo(f"kept {units.counted(made.kept, 'line')} of {journal} in {output}")
    for loss in made.losses:
        click.echo(loss)
    printing.note(f"next: {units.command('study', 'list', '--storage', str(output))}")
