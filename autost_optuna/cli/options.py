"""Options that several commands share."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna.storage import DEFAULT

if TYPE_CHECKING:
    from autost_optuna.task import Task

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
    help="Images: digits (built in) or cifar10; of an events task digits-saccades (built in) or nmnist. "
    "By default the built-in ones; with --data-root, the task's own.",
)
data_root = click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the data set."
)
energy = click.option(
    "--energy",
    metavar="NAME|FILE.toml",
    help="Energy convention: horowitz-45nm-fp32, -fp16, -int8, memory, static-once, or your own file. By default the study's, "
    "else horowitz-45nm-fp32.",
)
device = click.option(
    "--device", default="cpu", show_default=True, metavar="NAME", help="Where networks run: cpu, cuda or cuda:N."
)
output_format = click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Form of the output."
)


def chosen_device(name: str) -> str:
    """`name`, if it is cpu, cuda or cuda:N and torch has it here."""
    import torch

    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"device {name!r} is none of cpu, cuda and cuda:N; use --device cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise ValueError(f"device {name!r} cannot be used here ({reason}); use --device cpu") from None
    return name


def chosen_data(data: str | None, root: Path | None, task: "Task") -> str:
    """The data set that the options name: --data, else the task's own where a folder is given, else the built-in one."""
    from autost_optuna.data import NAMES

    if data is None and root is not None and task.name not in NAMES:
        raise ValueError(
            f"task {task.name} has no data reader yet; say what {root} holds with --data, such as --data cifar10"
        )
    built_in = "digits-saccades" if task.events else "digits"
    return data or (task.name if root else built_in)
