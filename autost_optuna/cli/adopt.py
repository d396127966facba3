"""autost-optuna study adopt."""

from pathlib import Path

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import create, warn_of_stand_in
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna, settings_line


@click.command(
    short_help="Write the settings into a study that Objective made in plain Optuna.",
    params=[option for option in create.params if option.name not in ("name", "plan", "skip_if_exists")],
)
@options.study_argument("name")
def adopt(
    name: str,
    space: str,
    uniform: bool,
    task: str,
    data: str | None,
    data_root: Path | None,
    images: int,
    seeds: int,
    energy: str | None,
    min_params: float | None,
    max_params: float | None,
    min_flops: float | None,
    max_flops: float | None,
    min_depth: int | None,
    max_depth: int | None,
    max_energy: float | None,
    objective: tuple[str, ...],
    population: int,
    seed: int,
    device: str,
    storage: str,
) -> None:
    """Write the settings that all commands read into the study NAME, which Objective made in plain Optuna.

    Objective writes them itself, but a study made by version 0.1.0 lacks them. The options describe the Objective: all trials
    are compared with them, and some architectures are measured again. Your own parameters and objectives stay.

    \b
    Example:
      autost-optuna study adopt demo --space examples/narrow.toml --task digits
    """
    quiet_optuna()
    from autost_optuna.front.constraints import Constraints
    from autost_optuna.network.task import Task
    from autost_optuna.proxies.convention import DEFAULT, Convention
    from autost_optuna.search.adopt import adopt as adopt_study
    from autost_optuna.search.objective import Objective
    from autost_optuna.space.space import Space

    on = Task.load(task)
    made_by = Objective(
        Space.load(space, uniform=uniform),
        on,
        data=options.chosen_data(data, data_root, on),
        data_root=data_root,
        num_images=images,
        convention=Convention.load(energy) if energy else DEFAULT,
        constraints=Constraints(
            min_params=min_params,
            max_params=max_params,
            min_flops=min_flops,
            max_flops=max_flops,
            min_depth=min_depth,
            max_depth=max_depth,
            max_energy_mj=max_energy,
        ),
        seed=seed,
        seeds=seeds,
        device=options.chosen_device(device),
        objectives=objective,
    )
    done = adopt_study(name, storage, made_by, population=population)
    had = "has these settings already" if done.known else "adopted"
    click.echo(f"study {name} {had}: {units.counted(done.candidates, 'candidate')}, {settings_line(done.search)}")
    for count, why in ((done.outside, "outside the space"), (done.others, "without a candidate")):
        if count:
            printing.note(f"{units.counted(count, 'complete trial')} {why}: left out of the front")
    warn_of_stand_in(done.search.settings.data, on)
    if not done.known:
        keep_board(done.search, data_root)
    printing.note(f"next: {options.hint('study', 'show', name, storage=storage)}")
