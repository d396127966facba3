"""Options that several commands share."""

from pathlib import Path

import click

from autost_optuna.storage import DEFAULT

storage = click.option(
    "--storage",
    envvar="OPTUNA_STORAGE",
    default=DEFAULT,
    show_default=True,
    metavar="FILE|URL",
    help="Where studies are kept: a journal file, or a URL such as sqlite:///FILE. Also from OPTUNA_STORAGE.",
)
data = click.option(
    "--data",
    metavar="NAME",
    help="Images: digits (built in) or cifar10. By default digits; with --data-root, the task's own.",
)
data_root = click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the data set."
)
output_format = click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Form of the output."
)


def chosen_data(data: str | None, root: Path | None, task_name: str) -> str:
    """The data set that the options name: --data, else the task's own where a folder is given, else the digits."""
    from autost_optuna.data import NAMES

    if data is None and root is not None and task_name not in NAMES:
        raise ValueError(
            f"task {task_name} has no data reader yet; say what {root} holds with --data, such as --data cifar10"
        )
    return data or (task_name if root else "digits")
