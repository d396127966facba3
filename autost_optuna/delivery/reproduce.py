"""How to reproduce a study: the commands to type, and the files that they read."""

from collections.abc import Sequence
from dataclasses import replace

from autost_optuna import units
from autost_optuna.data import BUILT_IN
from autost_optuna.files import toml_text
from autost_optuna.front.constraints import BOUNDS
from autost_optuna.front.picks import numbers_of
from autost_optuna.network.families import is_network
from autost_optuna.network.task import PRESETS as TASKS
from autost_optuna.proxies.convention import CONVENTIONS, Convention
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES
from autost_optuna.search.baselines import baselines_of
from autost_optuna.search.enrol import PROGRAM
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Settings
from autost_optuna.space.presets import CHOICES_OF_PRESETS
from autost_optuna.space.space import Space
from autost_optuna.training.recipe import RECIPES
from autost_optuna.training.record import Record


def files_of(settings: Settings, trainings: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """The files that the commands read, by name."""
    # A uniform space is an option of the command, not part of the file.
    space = {name: value for name, value in settings.space.to_dict().items() if name != "uniform"}
    files = {} if _is_preset(settings) else {"space.toml": space}
    files |= {} if _is_preset_task(settings) else {"task.toml": settings.task.to_dict()}
    files |= {} if _is_known(settings.convention) else {"convention.toml": settings.convention.to_dict()}
    files |= {_recipe(one): one.recipe for one in trainings if _recipe(one) != one.recipe_name}
    return tuple((name, toml_text(values)) for name, values in files.items())


def commands_of(search: Search, trainings: Sequence[Record]) -> list[str]:
    """The commands that reproduce the report; folders are the reader's own."""
    name, trials, baselines = search.study.study_name, len(search.course().hypervolumes), baselines_of(search)
    commands = [_creation(search), _trials(search, trials)]
    commands += [] if search.exact() is None else [units.command("study", "exact", name)]
    if baselines:
        rebuilt = [one.published.name for one in baselines if one.published and one.rebuilt]
        others = [one.name if one.published else one.architecture.to_text() for one in baselines if not one.rebuilt]
        commands += [units.command("study", "baseline", name, *others)] if others else []
        commands += [units.command("study", "baseline", name, "--rebuilt", *rebuilt)] if rebuilt else []
    commands += _train(search, trainings)
    return [*commands, units.command("study", "report", name, "-o", "report.html")]


def _creation(search: Search) -> str:
    settings = search.settings
    words = ["--space", settings.space.name if _is_preset(settings) else "space.toml"]
    words += ["--uniform"] if settings.space.uniform else []
    words += ["--task", settings.task.name if _is_preset_task(settings) else "task.toml", "--data", settings.data]
    words += ["--data-root", "DIR"] if settings.data_root else []
    words += ["--images", str(settings.images), "--seeds", str(settings.seeds)]
    words += ["--energy", settings.convention.name if _is_known(settings.convention) else "convention.toml"]
    for name in BOUNDS:
        bound = getattr(settings.constraints, name)
        option = f"--{name.removesuffix('_mj').replace('_', '-')}"
        words += [] if bound is None else [option, f"{bound:.15g}"]
    if settings.objectives != DEFAULT_OBJECTIVES:
        words += [word for name in settings.objectives for word in ("--objective", name)]
    words += ["--population", str(settings.population), "--seed", str(settings.seed)]
    return units.command("study", "create", search.study.study_name, *words)


def _trials(search: Search, trials: int) -> str:
    """The command that ran the trials, or, as a comment, the program that did."""
    program = search.study.user_attrs.get(PROGRAM)
    if program is None:
        return units.command("study", "run", search.study.study_name, "--trials", str(trials))
    sampler = f" with {program['sampler']}" if program["sampler"] else ""
    return f"# here the user's own program ran {units.counted(trials, 'trial')} of Objective in Optuna{sampler}"


def _train(search: Search, trainings: Sequence[Record]) -> list[str]:
    """The commands for each recipe, data and seed: one for all trials, and one for each network of no trial.

    There is none for a trial that no longer exists.
    """
    numbers = numbers_of(search.candidates())
    alike: dict[tuple[str, str, int], list[list[str]]] = {}
    for one in trainings:
        commands = alike.setdefault((_recipe(one), one.data, one.seed), [[]])
        if one.architecture.key in numbers:
            commands[0] += ["--trial", str(numbers[one.architecture.key])]
        elif one.network is not None:
            source = one.network if is_network(one.network) else one.architecture.to_text()
            commands.append(["--network", source])
    return [
        units.command(
            "train",
            search.study.study_name,
            *selected,
            *("--data", data, *(() if data in BUILT_IN else ("--data-root", "DIR"))),
            *("--recipe", recipe, "--seed", str(seed)),
        )
        for (recipe, data, seed), commands in alike.items()
        for selected in commands
        if selected
    ]


def _is_preset(settings: Settings) -> bool:
    space = settings.space
    return space.name in CHOICES_OF_PRESETS and Space.load(space.name) == replace(space, uniform=False)


def _is_preset_task(settings: Settings) -> bool:
    return TASKS.get(settings.task.name) == settings.task


def _is_known(convention: Convention) -> bool:
    return convention.name in CONVENTIONS and CONVENTIONS[convention.name].hash == convention.hash


def _recipe(training: Record) -> str:
    """The argument of `train --recipe`: a name, or a file if the recipe is not a preset."""
    preset = RECIPES.get(training.recipe_name)
    known = preset is not None and preset.hash == training.recipe_hash
    return training.recipe_name if known else f"recipe-{training.recipe_hash}.toml"
