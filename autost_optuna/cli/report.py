"""autost-optuna study report: one file with the results of a study."""

from pathlib import Path

import click

from autost_optuna.cli import options
from autost_optuna.cli.study import quiet_optuna


@click.command(short_help="Write a report on a study as one page.")
@options.study_argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.html", help="The page.")
@options.data_root
@options.storage
def report(name: str, output: Path, data_root: Path | None, storage: str) -> None:
    """Write a report on the study NAME as one page, which works offline and prints well.

    It holds question and answer, space, front, picks with their audits, convergence, health, the exact front if known, how
    far to trust the figures, the trained networks, and how to reproduce it. Energies are split on the study's images; give
    --data-root if these have moved since the study was created.

    \b
    Example:
      autost-optuna study report demo -o report.html
    """
    quiet_optuna()
    from autost_optuna.delivery.report import write_report
    from autost_optuna.search.study import open_search

    write_report(open_search(name, storage), output, data_root)
    click.echo(f"wrote {output}")
