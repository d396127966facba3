"""autost-optuna study: create, list, show, fork, delete."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.candidate import Candidate
from autost_optuna.cli import options, show
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.trained import dropped_lines, print_summary, readable, summary_of
from autost_optuna.files import check_keys, read_toml
from autost_optuna.goals import DEFAULT_OBJECTIVES, ENERGY, FLOPS, GOALS, further

if TYPE_CHECKING:
    from autost_optuna.settings import Settings
    from autost_optuna.study import Reached, Search
    from autost_optuna.task import Task


@click.group(no_args_is_help=True)
def study() -> None:
    """Search: create a study, run it, look at its front."""


def read_plan(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the options of a plan as defaults: what is typed beside it counts more."""
    if path is not None:
        names = [p.name for p in context.command.params if isinstance(p, click.Option) and p.name]
        allowed = [name for name in names if name not in ("plan", "storage", "skip_if_exists", "device", "quiet")]
        context.default_map = check_keys(f"plan {path}", read_toml(Path(path), "studies/first/plan.toml"), allowed, [])


@study.command(short_help="Create a study: its space, task, images and constraints.")
@click.argument("name")
@click.option(
    "--plan",
    is_eager=True,
    expose_value=False,
    callback=read_plan,
    metavar="FILE.toml",
    help='A file of these options, such as space = "tiny"; an option that is typed counts more.',
)
@click.option(
    "--space", default="small", show_default=True, help="tiny, small, base, FILE.toml, or AutoST's FILE.yaml."
)
@click.option("--uniform", is_flag=True, help="One MLP ratio and one head count for all blocks of a network.")
@click.option(
    "--task",
    default="cifar10",
    show_default=True,
    help=options.TASKS,
)
@options.data
@options.data_root
@click.option("--images", default=4, show_default=True, help="Images that rates are measured on.")
@click.option("--seeds", default=1, show_default=True, help="Initialisations that rates are the mean of.")
@options.energy
@options.bounds
@click.option(
    "--objective",
    multiple=True,
    default=DEFAULT_OBJECTIVES,
    show_default=True,
    metavar="NAME",
    help=f"An objective, for each one anew: flops, energy_mj, and further ones of {', '.join(further(tuple(GOALS)))}.",
)
@click.option("--population", default=50, show_default=True, help="NSGA-II population.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights, images and search.")
@click.option("--skip-if-exists", is_flag=True, help="Succeed where the study exists, and leave it as it is.")
@options.device
@options.storage
def create(
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
    skip_if_exists: bool,
    device: str,
    storage: str,
) -> None:
    """Create the study NAME. Constraints (--min-params to --max-energy) keep candidates out of its front.

    \b
    Examples:
      autost-optuna study create demo --space tiny --task digits
      autost-optuna study create demo3 --space tiny --objective flops --objective sahd --objective energy_mj
    """
    quiet_optuna()
    from autost_optuna.constraints import Constraints
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.space import Space
    from autost_optuna.study import create as create_study
    from autost_optuna.task import Task

    on = Task.load(task)
    search = create_study(
        name,
        storage,
        space=Space.load(space, uniform=uniform),
        task=on,
        data=options.chosen_data(data, data_root, on),
        data_root=data_root,
        images=images,
        seeds=seeds,
        convention=Convention.load(energy) if energy else None,
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
        population=population,
        objectives=objective,
        skip_if_exists=skip_if_exists,
        device=options.chosen_device(device),
    )
    click.echo(f"study {name}: {settings_line(search)}")
    warn_of_stand_in(search.settings.data, on)
    show.note(f"next: {options.hint('study', 'run', name, '--trials', '200', storage=storage)}")


@study.command("list")
@options.output_format
@options.storage
def list_studies(form: str, storage: str) -> None:
    """List the studies of a storage.

    \b
    Example:
      autost-optuna study list
    """
    quiet_optuna()
    from autost_optuna.study import list_searches

    rows = [asdict(row) for row in list_searches(storage)]
    if form == "json":
        show.print_json(rows)
    elif form == "csv":
        click.echo(units.csv_text(rows), nl=False)
    else:
        cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
        show.print_table(
            ["name", "trials", "space", "task", "data", "convention"],
            cells,
            left=["name", "space", "task", "data", "convention"],
        )


@study.command("show", short_help="How far a study is, and how healthy.")
@options.study_argument("name")
@click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", help="Form of the output."
)
@options.storage
def show_study(name: str, form: str, storage: str) -> None:
    """Show what the study NAME is, how far it is, and how healthy its pair of objectives.

    \b
    Example:
      autost-optuna study show demo
    """
    quiet_optuna()
    from autost_optuna.baselines import baselines_of, caveat, lines, to_row
    from autost_optuna.exact import member_rows
    from autost_optuna.front import in_plane, nondominated
    from autost_optuna.own import own_of
    from autost_optuna.study import open_search, reached, summarise

    search = open_search(name, storage)
    own = own_of(search)
    summary, near, exact = summarise(search), reached(search), search.exact()
    baselines, members = baselines_of(search), in_plane(nondominated(search.candidates()))
    trainings, dropped = readable(search)
    if form == "json":
        named = ("space_size", "infeasible", "outside", "silent", "unscored", "failed", "correlations")
        counts = {name: getattr(summary, name) for name in named}
        shares = {"unique_share": summary.health.unique_share}
        numbers = {**asdict(summary.health), **shares, "hypervolume": summary.hypervolume, **counts}
        beside: dict[str, Any] = {
            "exact": near and asdict(near),
            "exact_front": exact and member_rows(exact, search.candidates()),
            "baselines": [to_row(one, members) for one in baselines],
        }
        beside |= {"own_parameters": list(own.parameters), "own_objectives": dict(own.objectives)}
        beside |= {"published_networks": [one.published.to_dict() for one in baselines if one.published]}
        beside |= {"trained": summary_of(search, trainings), "dropped_out": [one.to_dict() for one in dropped]}
        show.print_json({"name": name, **numbers, **beside, "settings": search.settings.to_dict()})
        return
    health = summary.health
    click.echo(f"study {name}: {settings_line(search)}")
    if further(search.settings.objectives):
        click.echo(f"objectives   {', '.join(GOALS[goal].label for goal in search.settings.objectives)}")
    if own:
        listed = [f"{name} ({direction})" for name, direction in own.objectives]
        click.echo(f"your own     {', '.join([*listed, *(f'parameter {name}' for name in own.parameters)])}")
    if search.settings.constraints:
        click.echo(f"constraints  {search.settings.constraints}")
    unscored = f", {summary.unscored} without a score" if summary.unscored else ""
    infeasible = f", {summary.infeasible:,} outside the constraints" if search.settings.constraints else ""
    outside = f", {summary.outside:,} outside the space" if summary.outside else ""
    left_out = f"{infeasible}{outside}, {summary.silent} silent{unscored}, {summary.failed} failed"
    click.echo(f"trials       {health.trials:,} complete{left_out}")
    share = "" if health.unique_share is None else f", {health.unique_share:.1%} of the trials"
    click.echo(f"unique       {health.unique:,} of {summary.space_size:,} architectures in the space{share}")
    click.echo(f"front        {health.front_size} members, {health.nondominated_share:.1%} of the unique ones")
    plane = " of FLOPs and energy" if further(search.settings.objectives) else ""
    click.echo(f"hypervolume  {summary.hypervolume:.4f} of the space's box{plane}, logarithmic axes")
    if not plane:
        lists = options.hint("study", "exact", name, storage=storage)
        known = exact and f"{units.counted(len(exact.members), 'member')}, which {lists} prints; no trial yet"
        click.echo(f"exact front  {known if known and near is None else _reached_line(near, lists)}")
    click.echo(f"Spearman     {number(health.spearman)} between FLOPs and energy (1 would make them one objective)")
    for goal, rank in summary.correlations.items():
        click.echo(
            f"             {number(rank[FLOPS])} of {GOALS[goal].label} with FLOPs, {number(rank[ENERGY])} with energy"
        )
    for label, words in lines(baselines, members):
        click.echo(f"baseline     {label}: {words}")
    if caveat(baselines):
        click.echo(caveat(baselines))
    print_summary(search, trainings, dropped)
    for line in dropped_lines(dropped):
        click.echo(f"dropped out  {line}")
    warn_of_stand_in(search.settings.data, search.settings.task)
    if health.warning:
        show.note(f"warning: {health.warning}")


@study.command(short_help="Start a new study from the results of another.")
@options.study_argument("name")
@click.argument("new")
@options.data_root
@options.energy
@options.device
@options.storage
def fork(name: str, new: str, data_root: Path | None, energy: str | None, device: str, storage: str) -> None:
    """Start the study NEW from the results of the study NAME, under the packages, images and convention of here and now.

    Results are taken over where members of the front, measured again, give what they gave; otherwise the front's members
    are the first that NEW measures.

    \b
    Example:
      autost-optuna study fork demo demo2
    """
    quiet_optuna()
    from autost_optuna.fork import fork as fork_study
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.study import open_search

    convention = Convention.load(energy) if energy else None
    on = options.chosen_device(device)
    made = fork_study(open_search(name, storage), new, storage, convention=convention, data_root=data_root, device=on)
    if made.reason is None:
        click.echo(f"study {new}: {units.counted(made.copied, 'trial')} of {name} taken over")
    else:
        click.echo(
            f"study {new}: {units.counted(made.queued, 'member')} of the front of {name} to be measured anew: {made.reason}"
        )
    warn_of_stand_in(made.search.settings.data, made.search.settings.task)
    show.note(f"next: {options.hint('study', 'run', new, '--trials', '200', storage=storage)}")


@study.command(short_help="Delete a study and all its trials.")
@options.study_argument("name")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@options.storage
def delete(name: str, yes: bool, storage: str) -> None:
    """Delete the study NAME and all its trials; networks that were trained of it are kept, in the study NAME.trained.

    \b
    Example:
      autost-optuna study delete demo --yes
    """
    quiet_optuna()
    import sys

    from autost_optuna.ownership import find_trained, owner_of
    from autost_optuna.study import delete as delete_study
    from autost_optuna.study import load_study, open_search

    if sys.stdin is not None and sys.stdin.isatty() and not yes:
        click.confirm(f"delete study {name} and all its trials?", abort=True)
    of, kept = owner_of(load_study(name, storage, write=True)._storage, name), None
    with contextlib.suppress(ValueError):  # it is no search, or it is not clear which networks are of it
        kept = find_trained(open_search(name, storage))
    trials = delete_study(name, storage)
    click.echo(f"deleted study {name} with {units.counted(trials, 'trial')}")
    if of is not None:
        keep_board(open_search(of, storage, write=True))
    if kept is not None:
        show.note(
            f"kept what was trained of it; {options.hint('study', 'delete', kept, storage=storage)} deletes that too"
        )


def describe_candidate(candidate: Candidate) -> str:
    """A candidate in one line."""
    return (
        f"{candidate.architecture.to_text()}: {units.count(candidate.flops, 'FLOPs')}, "
        f"{units.energy(candidate.energy_mj)} ({candidate.convention}), {units.parameters(candidate.params)}"
    )


def _reached_line(near: "Reached | None", hint: str) -> str:
    if near is None:
        return f"not known; {hint} measures it where the space can be enumerated"
    most = "" if near.trials_to_95 is None else f", 95 % after {near.trials_to_95:,}"
    return f"{near.share:.2%} of its hypervolume reached, after {units.counted(near.trials, 'trial')}{most}"


def quiet_optuna() -> None:
    """Keep Optuna's log for warnings; progress is ours."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def settings_line(search: "Search") -> str:
    """The space, task and rates of a search, in words."""
    settings = search.settings
    form = " uniform" if settings.space.uniform else ""
    return (
        f"space {settings.space.name}{form} ({settings.space.size:,} architectures), task {settings.task.name}, "
        f"{rates_line(search)}"
    )


def rates_line(search: "Search") -> str:
    """What the energies of a search are, in words."""
    settings = search.settings
    return (
        f"{settings.convention.label}, rates on {units.images(settings.images, settings.seeds)} of {settings.data}, "
        f"{units.seeds(settings.seed, settings.seeds)}"
    )


def away(settings: "Settings") -> str:
    """That a study's images are not on this machine, in words."""
    where = f"not in {settings.data_root} any more" if settings.data_root else "not on this machine"
    return f"the study's images of {settings.data} are {where}"


def warn_of_stand_in(data: str, task: "Task") -> None:
    """Warn if rates are measured on the images of another task."""
    from autost_optuna.data import stand_in_warning

    if warning := stand_in_warning(data, task):
        show.note(f"warning: {warning}")


def number(value: float | None) -> str:
    """Four decimals, or a dash where there is no value."""
    return "-" if value is None else f"{value:.4f}"
