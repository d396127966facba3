"""autost-optuna train, export, quickstart: what is done with chosen networks."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna.cli import options, show
from autost_optuna.cli.front import picked
from autost_optuna.cli.run import run_search
from autost_optuna.cli.study import describe_candidate, quiet_optuna

if TYPE_CHECKING:
    from autost_optuna.architecture import Architecture
    from autost_optuna.recipe import Recipe
    from autost_optuna.study import Search
    from autost_optuna.task import Task
    from autost_optuna.trainer import Trained


@click.command()
@click.argument("study")
@click.option("--trial", "trials", type=int, multiple=True, metavar="N", help="A trial of the study; may be repeated.")
@click.option("--knee", is_flag=True, help="The knee of the front.")
@click.option("--front", type=int, metavar="K", help="The K members that study front --pick K names.")
@options.data
@options.data_root
@click.option("--epochs", default=10, show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--lr", default=2e-3, show_default=True, help="Highest learning rate.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trained"),
    show_default=True,
    metavar="DIR",
    help="A network goes to DIR/STUDY-TRIAL.",
)
@options.storage
def train(
    study: str,
    trials: tuple[int, ...],
    knee: bool,
    front: int | None,
    data: str | None,
    data_root: Path | None,
    epochs: int,
    batch_size: int,
    lr: float,
    output: Path,
    storage: str,
) -> None:
    """Train networks of STUDY; again to resume after an interruption.

    \b
    Example:
      autost-optuna train demo --knee --epochs 5
    """
    quiet_optuna()
    from autost_optuna.data import NAMES, load
    from autost_optuna.recipe import Recipe
    from autost_optuna.study import open_search

    search = open_search(study, storage)
    candidates = _chosen(search, trials, knee, front)
    settings = search.settings
    recipe = Recipe(epochs=epochs, batch_size=batch_size, lr=lr, seed=settings.seed)
    if data_root is None and settings.data_root:
        data_root = Path(settings.data_root)
    if data is None and settings.task.name not in NAMES:
        raise ValueError(f"task {settings.task.name} has no data reader yet; it can be searched, not trained")
    dataset = load(data or settings.task.name, settings.task, data_root)
    for candidate in candidates:
        folder = output / f"{_file_name(study)}-{candidate.number}"
        click.echo(f"training {describe_candidate(candidate)}")
        result = train_network(candidate.architecture, settings.task, dataset, recipe, folder)
        click.echo(
            f"{result.validation_accuracy:.2%} on the validation split, {result.test_accuracy:.2%} on the test set "
            f"of {dataset.name}; wrote {result.path}"
        )


def train_network(
    architecture: "Architecture", task: "Task", dataset: Any, recipe: "Recipe", folder: Path
) -> "Trained":
    """Train one network under a progress bar."""
    from autost_optuna.trainer import Epoch
    from autost_optuna.trainer import train as train_one

    latest = [""]

    with show.progress("training", 0, "batches") as update:

        def on_batch(epoch: int, batch: int, batches: int) -> None:
            update(epoch * batches + batch, f"epoch {epoch + 1}/{recipe.epochs} {latest[0]}", recipe.epochs * batches)

        def on_epoch(line: Epoch) -> None:
            latest[0] = f"validation {line.validation_accuracy:.1%}"
            if not show.is_terminal():
                show.note(
                    f"epoch {line.epoch}/{recipe.epochs}: loss {line.loss:.3f}, validation "
                    f"{line.validation_accuracy:.2%}, {line.images_per_s:.0f} images/s"
                )

        return train_one(architecture, task, dataset, recipe, folder, on_batch=on_batch, on_epoch=on_epoch)


@click.command()
@click.argument("study")
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
    candidate = _chosen(search, () if trial is None else (trial,), knee, None, most=1)[0]
    export_bundle(search, candidate, output, weights=checkpoint)
    weights = "trained weights" if checkpoint else "untrained weights (at initialisation)"
    click.echo(f"wrote {output}: trial {candidate.number}, {describe_candidate(candidate)}, {weights}")


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("autost-quickstart"),
    show_default=True,
    metavar="DIR",
    help="Where everything goes; the same DIR again goes on where it stopped.",
)
@click.option("--trials", default=300, show_default=True)
@click.option("--epochs", default=10, show_default=True)
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
    from autost_optuna.data import load
    from autost_optuna.front import knee
    from autost_optuna.recipe import Recipe
    from autost_optuna.study import summarise

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
    chosen = knee(members)
    click.echo(f"2/4 front of {len(members)} members drawn in {figure}")
    click.echo(f"3/4 train the knee, trial {chosen.number}: {describe_candidate(chosen)}")
    result = train_network(
        chosen.architecture, settings.task, load("digits", settings.task), recipe, output / f"trained-{chosen.number}"
    )
    click.echo(
        f"    {result.test_accuracy:.2%} of the test digits right, {result.validation_accuracy:.2%} of validation"
    )
    bundle = steps.take_away(search, chosen, result.path, output)
    click.echo(f"4/4 exported to {bundle}; in Python: autost_optuna.load({str(bundle)!r})")
    program = sys.argv[0] if sys.argv[0].endswith("autost-optuna") else "autost-optuna"
    click.echo(f"look: open {figure} in a browser, or {program} dashboard --storage {steps.storage_of(output)}")


def _chosen(
    search: "Search", trials: tuple[int, ...], knee: bool, front: int | None, most: int | None = None
) -> list[Any]:
    """The candidates that --trial, --knee and --front name."""
    from autost_optuna.front import knee as knee_of

    found = [search.candidate(number) for number in trials]
    if knee:
        found.append(knee_of(search.front()))
    if front is not None:
        found += picked(search, search.front(), front)
    if not found or (most is not None and len(found) > most):
        choice = "--trial N or --knee" if most else "--trial N, --knee or --front K"
        raise click.UsageError(f"Give {choice}" + (", not both." if found else "."))
    return list({candidate.number: candidate for candidate in found}.values())


def _file_name(name: str) -> str:
    """A study's name as part of a folder's name."""
    return re.sub(r"[^\w.-]+", "_", name)
