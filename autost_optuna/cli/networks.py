"""autost-optuna export, quickstart: networks taken away; the whole way."""

import shlex
import sys
from pathlib import Path

import click

from autost_optuna import units
from autost_optuna.cli import options
from autost_optuna.cli.run import run_search
from autost_optuna.cli.study import describe_candidate, quiet_optuna
from autost_optuna.cli.train import chosen, train_under_bars


@click.command(short_help="Export a network as a folder.")
@options.study_argument("study")
@click.option("--trial", type=int, metavar="N", help="A trial of the study.")
@click.option("--knee", is_flag=True, help="The knee of the front.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that does not exist.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trained weights; else those at initialisation.",
)
@options.storage
def export(study: str, trial: int | None, knee: bool, output: Path, checkpoint: Path | None, storage: str) -> None:
    """Export a network of STUDY as a folder: architecture (JSON, AutoST's YAML), weights, card, manifest.

    \b
    Example:
      autost-optuna export demo --knee -o my-network
    """
    quiet_optuna()
    from autost_optuna.export import export as export_bundle
    from autost_optuna.study import open_search

    search = open_search(study, storage)
    candidate = chosen(search, () if trial is None else (trial,), knee, None, most=1)[0]
    export_bundle(search, candidate, output, weights=checkpoint)
    weights = "trained weights" if checkpoint else "untrained weights (at initialisation)"
    click.echo(f"wrote {output}: trial {candidate.number}, {describe_candidate(candidate)}, {weights}")


@click.command(short_help="The whole way in two minutes, on built-in data.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("autost-quickstart"),
    show_default=True,
    metavar="DIR",
    help="Where everything goes; the same DIR again goes on where it stopped.",
)
@click.option("--trials", default=300, show_default=True, help="Trials of the search.")
@click.option("--epochs", default=10, show_default=True, help="Epochs of the training.")
def quickstart(output: Path, trials: int, epochs: int) -> None:
    """The whole way in two minutes on built-in data: search, front, figure, train the knee, export.

    \b
    Example:
      autost-optuna quickstart -o first-look
    """
    if trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    quiet_optuna()
    from autost_optuna import quickstart as steps
    from autost_optuna.front import knee
    from autost_optuna.recipe import Recipe
    from autost_optuna.study import summarise
    from autost_optuna.training import Means, orders

    recipe = Recipe(epochs=epochs)
    search = steps.create(output)
    settings = search.settings
    click.echo(
        f"1/4 search {settings.space.size:,} spiking transformers for the task {settings.task.name}, without training"
    )
    missing = trials - summarise(search).health.trials
    if missing > 0 and run_search(search, missing).ending == "stopped":
        raise click.Abort
    figure = steps.draw(search, output)
    members = search.front()
    member = knee(members)
    click.echo(f"2/4 front of {len(members)} members drawn in {figure}")
    click.echo(f"3/4 train the knee, trial {member.number}: {describe_candidate(member)}")
    trained = train_under_bars(search, orders(search, [member], recipe, 1, output / "trained"), Means(data="digits"))
    if not trained:
        raise ValueError(f"another process trains the knee of {output}; wait for it, then repeat the command")
    result = trained[0]
    click.echo(
        f"    {result.test_accuracy:.2%} of the test digits right, {result.validation_accuracy:.2%} of validation; "
        f"{units.energy(result.energy_mj)} measured, {units.energy(result.predicted_mj)} predicted"
    )
    bundle = steps.take_away(search, member, Path(result.path), output)
    click.echo(f"4/4 exported to {bundle}; in Python: autost_optuna.load({str(bundle)!r})")
    program = sys.argv[0] if sys.argv[0].endswith("autost-optuna") else "autost-optuna"
    dashboard = shlex.join([program, "dashboard", "--storage", str(steps.storage_of(output))])
    click.echo(f"look: open {figure} in a browser, or {dashboard}")
