"""`study list` and `study show`: the studies of a storage, and the state of a study."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import warn_of_stand_in
from autost_optuna.cli.study import number, print_table_error, quiet_optuna, settings_line
from autost_optuna.cli.trained import dropped_lines, print_summary, readable, summary_of
from autost_optuna.proxies.goals import ENERGY, FLOPS, GOALS, further

if TYPE_CHECKING:
    from autost_optuna.search.summary import Reached


@click.command("list")
@options.output_format
@options.storage
def list_studies(form: str, storage: str) -> None:
    """List the studies of a storage.

    \b
    Example:
      autost-optuna study list
    """
    quiet_optuna()
    from autost_optuna.search.catalogue import list_searches

    rows = [asdict(row) for row in list_searches(storage)]
    if form == "json":
        printing.print_json(rows)
    elif form == "csv":
        click.echo(units.csv_text(rows), nl=False)
    else:
        cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
        printing.print_table(
            ["name", "trials", "space", "task", "data", "convention"],
            cells,
            left=["name", "space", "task", "data", "convention"],
        )


@click.command("show", short_help="Show the progress and health of a study.")
@options.study_argument("name")
@click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", help="Form of the output."
)
@options.storage
def show_study(name: str, form: str, storage: str) -> None:
    """Show the settings of the study NAME, its progress, and how informative its objectives are.

    \b
    Example:
      autost-optuna study show demo
    """
    quiet_optuna()
    from autost_optuna.front.front import in_plane, nondominated
    from autost_optuna.proxies.flops import attention_share
    from autost_optuna.search.baselines import baselines_of, caveat, lines, to_row
    from autost_optuna.search.exact import member_rows
    from autost_optuna.search.own import own_of
    from autost_optuna.search.study import open_search
    from autost_optuna.search.summary import reached, summarise
    from autost_optuna.search.tables import about_table

    search = open_search(name, storage)
    own, table = own_of(search), about_table(search.study)
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
        beside |= {"table": table and asdict(table)}
        beside |= {"own_parameters": list(own.parameters), "own_objectives": dict(own.objectives)}
        beside |= {"published_networks": [one.published.to_dict() for one in baselines if one.published]}
        beside |= {"trained": summary_of(search, trainings), "dropped_out": [one.to_dict() for one in dropped]}
        printing.print_json({"name": name, **numbers, **beside, "settings": search.settings.to_dict()})
        return
    health = summary.health
    click.echo(f"study {name}: {settings_line(search)}")
    if further(search.settings.objectives):
        click.echo(f"objectives   {', '.join(GOALS[goal].label for goal in search.settings.objectives)}")
    if own:
        listed = [f"{name} ({direction})" for name, direction in own.objectives]
        click.echo(f"your own     {', '.join([*listed, *(f'parameter {name}' for name in own.parameters)])}")
    print_table_error(search, "rates       ")
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
    if search.settings.space.form:
        products = attention_share((member.architecture for member in members), search.settings.task)
        click.echo(f"attention    {products:.1%} of the front's FLOPs are attention products")
        dead = max((member.dead_share or 0.0 for member in members), default=0.0)
        click.echo(f"dead layers  at most {dead:.1%} of a member's spike-driven MACs read layers that hardly fire")
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
        printing.note(f"warning: {health.warning}")


def _reached_line(near: "Reached | None", hint: str) -> str:
    if near is None:
        return f"not known; {hint} measures it unless the space is too large"
    most = "" if near.trials_to_95 is None else f", 95 % after {near.trials_to_95:,}"
    return f"{near.share:.2%} of its hypervolume reached, after {units.counted(near.trials, 'trial')}{most}"
