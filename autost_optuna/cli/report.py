"""autost-optuna study report: one file that answers a study."""

from pathlib import Path

import click

from autost_optuna.cli import options
from autost_optuna.cli.study import quiet_optuna


@click.command(short_help="Write a study into one page.")
@options.study_argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.html", help="The page.")
@options.data_root
@options.storage
def report(name: str, output: Path, data_root: Path | None, storage: str) -> None:
    """Write what there is to say of the study NAME into one page, which needs no network and prints well.

    Question and answer, space, front, picks with their audits, convergence, health, the exact front where it is known, how
    far to trust the figures, what was trained, and how to come by the same. Energies are parted on the study's images; give
    --data-root where these lie elsewhere than when it was created.

    \b
    Example:
      autost-optuna study report demo -o report.html
    """
    quiet_optuna()
    from autost_optuna.delivery.report import write_report
    from autost_optuna.search.study import open_search

    write_report(open_search(name, storage), output, data_root)
    click.echo(f"wrote {output}")
