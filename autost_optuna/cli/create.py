"""`study create`: create a study with its space, task, data and energy convention."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna.cli import options, printing
from autost_optuna.cli.study import print_table_error, quiet_optuna, settings_line
from autost_optuna.files import check_keys, read_toml
from autost_optuna.front.candidate import MEASURED, RATES
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES, GOALS, further

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autost_optuna.network.task import Task
    from autost_optuna.search.settings import Plan, Settings


# Choices that FLOPs reward, whatever they are worth in accuracy.
REWARDED = {
    "time_steps": "more steps are more FLOPs, so FLOPs do not tell what steps are worth in accuracy",
    "pooling": "with large grids most FLOPs are attention products, which cost little and may be worth little; see study show",
}


def read_plan(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Use the options in a plan as defaults, which typed options override."""
    if path is not None:
        names = [p.name for p in context.command.params if isinstance(p, click.Option) and p.name]
        allowed = [name for name in names if name not in ("plan", "storage", "skip_if_exists", "device", "quiet")]
        context.default_map = check_keys(f"plan {path}", read_toml(Path(path), "studies/first/plan.toml"), allowed, [])


def planned(given: "Mapping[str, Any]") -> "Plan":
    """The plan that the options of `create` describe."""
    from autost_optuna.front.constraints import Constraints
    from autost_optuna.network.task import Task
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.search.settings import Plan
    from autost_optuna.space.space import Space

    task = Task.load(given["task"])
    counted = ("min_params", "max_params", "min_flops", "max_flops", "min_depth", "max_depth")
    return Plan(
        Space.load(given["space"], uniform=given["uniform"]),
        task,
        data=options.chosen_data(given["data"], given["data_root"], task),
        convention=Convention.load(given["energy"]) if given["energy"] else None,
        constraints=Constraints(**{bound: given[bound] for bound in counted}, max_energy_mj=given["max_energy"]),
        objectives=given["objective"],
        **{name: given[name] for name in ("data_root", "images", "seeds", "seed", "population", "rates")},
    )


@click.command(short_help="Create a study: its space, task, images and constraints.")
@click.argument("name")
@click.option(
    "--plan",
    is_eager=True,
    expose_value=False,
    callback=read_plan,
    metavar="FILE.toml",
    help='A file of these options, such as space = "tiny"; options on the command line override it.',
)
@click.option(
    "--space",
    default="small",
    show_default=True,
    help="tiny, small, base, families, compact, FILE.toml, or AutoST's FILE.yaml.",
)
@click.option("--uniform", is_flag=True, help="All blocks of a network alike: one MLP ratio, one number of heads.")
@click.option(
    "--task",
    default="cifar10",
    show_default=True,
    help=options.TASKS,
)
@options.data
@options.data_root
@click.option("--images", default=4, show_default=True, help="Number of images to measure rates on.")
@click.option("--seeds", default=1, show_default=True, help="Number of initialisations; rates are their mean.")
@click.option(
    "--rates",
    type=click.Choice(RATES),
    default=MEASURED,
    show_default=True,
    help="Measure spike rates in every network, or take them from a table of the space's parts, measured now.",
)
@options.energy
@options.bounds
@click.option(
    "--objective",
    multiple=True,
    default=DEFAULT_OBJECTIVES,
    show_default=True,
    metavar="NAME",
    help=f"An objective, given once for each: flops, energy_mj, and any of {', '.join(further(tuple(GOALS)))}.",
)
@click.option("--population", default=50, show_default=True, help="NSGA-II population.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights, images and search.")
@click.option("--skip-if-exists", is_flag=True, help="Succeed without changes if the study exists.")
@options.device
@options.storage
def create(name: str, skip_if_exists: bool, device: str, storage: str, **given: Any) -> None:
    """Create the study NAME. Constraints (--min-params to --max-energy) keep candidates out of its front.

    With --rates table, the spike rates of every part are measured once, now, and their error is printed. A trial then takes
    milliseconds. When study run ends, it measures the members of the front.

    \b
    Examples:
      autost-optuna study create demo --space tiny --task digits
      autost-optuna study create demo2 --rates table
      autost-optuna study create demo3 --space tiny --objective flops --objective sahd --objective energy_mj
    """
    quiet_optuna()
    from autost_optuna.search.study import create as create_study

    plan = planned(given)
    on = options.chosen_device(device)
    with printing.bars("parts") as update:
        search = create_study(
            name,
            storage,
            plan,
            skip_if_exists=skip_if_exists,
            device=on,
            on_done=lambda done, total: update("measuring", done, total, ""),
        )
    click.echo(f"study {name}: {settings_line(search)}")
    print_table_error(search)
    warn_of_stand_in(search.settings.data, plan.task)
    for choice, why in REWARDED.items():
        if len(plan.space.form.get(choice, ())) > 1:
            printing.note(f"warning: {choice} is a choice of the space: {why}")
    printing.note(f"next: {options.hint('study', 'run', name, '--trials', '200', storage=storage)}")


def away(settings: "Settings") -> str:
    """A sentence that a study's images are not on this machine."""
    where = f"not in {settings.data_root} any more" if settings.data_root else "not on this machine"
    return f"the study's images of {settings.data} are {where}"


def warn_of_stand_in(data: str, task: "Task") -> None:
    """Warn if rates are measured on images of another task."""
    from autost_optuna.data import stand_in_warning

    if warning := stand_in_warning(data, task):
        printing.note(f"warning: {warning}")
