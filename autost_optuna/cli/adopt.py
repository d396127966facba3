"""autost-optuna study adopt."""

from typing import Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import create, planned, warn_of_stand_in
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna, settings_line


@click.command(
    short_help="Write the settings into a study that Objective made in plain Optuna.",
    params=[option for option in create.params if option.name not in ("name", "plan", "skip_if_exists")],
)
@options.study_argument("name")
def adopt(name: str, device: str, storage: str, **given: Any) -> None:
    """Write the settings that all commands read into the study NAME, which Objective made in plain Optuna.

    Objective writes them itself, but a study made by version 0.1.0 lacks them. The options describe the Objective: all trials
    are compared with them, and some architectures are measured again. Your own parameters and objectives stay.

    \b
    Example:
      autost-optuna study adopt demo --space examples/narrow.toml --task digits
    """
    quiet_optuna()
    from autost_optuna.search.adopt import adopt as adopt_study
    from autost_optuna.search.restore import objective_of

    plan = planned(given)
    made_by = objective_of(plan, options.chosen_device(device))
    done = adopt_study(name, storage, made_by, population=plan.population)
    had = "has these settings already" if done.known else "adopted"
    click.echo(f"study {name} {had}: {units.counted(done.candidates, 'candidate')}, {settings_line(done.search)}")
    for count, why in ((done.outside, "outside the space"), (done.others, "without a candidate")):
        if count:
            printing.note(f"{units.counted(count, 'complete trial')} {why}: left out of the front")
    warn_of_stand_in(done.search.settings.data, plan.task)
    if not done.known:
        keep_board(done.search, plan.data_root)
    printing.note(f"next: {options.hint('study', 'show', name, storage=storage)}")
