"""Options that several commands share."""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import printing
from autost_optuna.delivery.plots.figure import AUTO, THEMES
from autost_optuna.storage.location import DEFAULT, shown

if TYPE_CHECKING:
    from autost_optuna.network.task import Task


class Amount(click.ParamType[float]):
    """A number with or without an SI prefix: 12M, 3.7G."""

    name = "amount"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The number in a text or in a plan."""
        try:
            return units.amount(str(value))
        except ValueError as error:
            self.fail(str(error), parameter, context)


storage = click.option(
    "--storage",
    envvar="OPTUNA_STORAGE",
    default=DEFAULT,
    show_default=True,
    metavar="FILE|URL",
    help="Where studies are kept: a journal file, or a URL such as sqlite:///FILE. Also from OPTUNA_STORAGE.",
)
TASKS = "cifar10, cifar100, digits, imagenet; for recordings nmnist, cifar10dvs(-64), dvs128gesture(-64); or FILE.toml."
data = click.option(
    "--data",
    metavar="NAME",
    help="Images: digits (built in), cifar10, cifar100 or imagefolder (DIR/train/<class>/*.png and DIR/test); recordings: "
    "digits-saccades (built in), nmnist, cifar10dvs or dvs128gesture. Default for rates: the built-in ones or, "
    "with --data-root, the task's own. Default for training: those of the rates or, if these are built in, the task's own.",
)
data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that holds the data set, such as DIR/cifar-10-batches-py or DIR/nmnist/extract; if data is missing, the "
    "error gives its layout and source.",
)
network = click.option(
    "--network",
    metavar="NAME|FILE|TEXT",
    help="A published network such as spikingformer-4-384, FILE.json, STUDY:exact:N for member N of an exact front, or "
    '"C=384,depth=4,heads=8,ratio=4".',
)
network_task = click.option(
    "--task",
    metavar="NAME",
    help="The task of a --network without STUDY. By default the published network's, else cifar10.",
)
download = click.option(
    "--download", is_flag=True, help="Fetch CIFAR-10 or CIFAR-100 into --data-root first, with torchvision."
)
energy = click.option(
    "--energy",
    metavar="NAME|FILE.toml",
    help="Energy convention: horowitz-45nm-fp32, -fp16, -int8, memory, static-once, integers-mac, or your own file. By "
    "default the study's, else horowitz-45nm-fp32.",
)
methods = click.option(
    "--methods", is_flag=True, help="Add sentences for the methods section of a paper, with the source of every price."
)
device = click.option(
    "--device", default="cpu", show_default=True, metavar="NAME", help="Where networks run: cpu, cuda or cuda:N."
)
output_format = click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Form of the output."
)
theme = click.option(
    "--theme",
    type=click.Choice(THEMES),
    default=AUTO,
    show_default=True,
    help="Colours of the figure; with auto, a page follows the reader's browser, and other forms are light.",
)


def _hush(context: click.Context, _: click.Parameter, quiet: bool) -> None:
    if quiet:
        context.meta[printing.QUIET] = True


quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_hush,
    help="No progress and no notes on stderr; results, warnings and errors remain.",
)


def _studies(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of studies in the journal with this start, for the shell's completion; none if the journal has any problem."""
    silence = io.StringIO()
    with contextlib.suppress(Exception), contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        from autost_optuna.storage.journal import study_names

        names = study_names(Path(context.params.get("storage") or os.environ.get("OPTUNA_STORAGE") or DEFAULT))
        # click's script for bash splits a name with a space
        return [name for name in names if name.startswith(incomplete) and shlex.quote(name) == name]
    return []


def study_argument(name: str, *, required: bool = True) -> Callable[..., Any]:
    """The argument for the name of a study, which a shell completes."""
    return click.argument(name, required=required, shell_complete=_studies)


def hint(*words: str, storage: str) -> str:
    """A command to type next, with --storage if it was given, but never with a password."""
    source = click.get_current_context().get_parameter_source("storage")
    typed = source is click.core.ParameterSource.COMMANDLINE and shown(storage) == storage
    return units.command(*words, *(["--storage", storage] if typed else []))


BOUNDS = (
    click.option("--min-params", type=Amount(), metavar="N", help="Fewest parameters of a network, such as 11M."),
    click.option("--max-params", type=Amount(), metavar="N", help="Most parameters of a network, such as 12M."),
    click.option("--min-flops", type=Amount(), metavar="N", help="Fewest FLOPs per image, such as 4G."),
    click.option("--max-flops", type=Amount(), metavar="N", help="Most FLOPs per image, such as 7.4G."),
    click.option("--min-depth", type=int, metavar="N", help="Fewest blocks."),
    click.option("--max-depth", type=int, metavar="N", help="Most blocks."),
    click.option("--max-energy", type=float, metavar="MJ", help="Most energy per image, in mJ."),
)


def bounds(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all constraints."""
    for option in reversed(BOUNDS):
        command = option(command)
    return command


def chosen_device(name: str) -> str:
    """`name`, if it is cpu, cuda or cuda:N and torch can use it here."""
    import torch

    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"device {name!r} is not cpu, cuda or cuda:N; use --device cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise ValueError(f"device {name!r} cannot be used here ({reason}); use --device cpu") from None
    return name


def chosen_data(data: str | None, root: Path | None, task: "Task") -> str:
    """The data set that the options select: --data, else the task's own if a folder is given, else the built-in one."""
    from autost_optuna.data import own_data

    built_in = "digits-saccades" if task.events else "digits"
    return data or (own_data(task) if root else built_in)
