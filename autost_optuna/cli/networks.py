"""autost-optuna export, quickstart: export a network; go through all steps."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import away
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.run import run_search
from autost_optuna.cli.selected import Selection, selected
from autost_optuna.cli.study import describe_candidate, quiet_optuna
from autost_optuna.cli.train import train_under_bars

if TYPE_CHECKING:
    from autost_optuna.network.architecture import Architecture
    from autost_optuna.network.task import Task
    from autost_optuna.search.search import Search


@click.command(short_help="Export a network as a folder.")
@options.study_argument("study", required=False)
@options.network
@options.network_task
@click.option("--trial", type=int, metavar="N", help="A trial of the study.")
@click.option("--knee", is_flag=True, help="The knee of the front.")
@click.option("--exact", type=int, metavar="N", help="Member N of the exact front.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|FILE.zip",
    help="A new folder, or a new .zip file.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trained weights; by default those at initialisation.",
)
@click.option("--standalone", is_flag=True, help="Add model.py: the network in plain PyTorch, without this package.")
@click.option("--nir", is_flag=True, help="Refused so far, with a list of the parts that NIR has no node for.")
@click.option("--force", is_flag=True, help="Replace an existing bundle once the new one is complete.")
@options.data_root
@options.storage
def export(
    study: str | None,
    network: str | None,
    task: str | None,
    trial: int | None,
    knee: bool,
    exact: int | None,
    output: Path,
    checkpoint: Path | None,
    standalone: bool,
    nir: bool,
    force: bool,
    data_root: Path | None,
    storage: str,
) -> None:
    """Export a network of STUDY: weights, ONNX, torch.export program, audit, model card, manifest; see README.md in it.

    --network exports any network, published ones by name; without STUDY, one named after the network and its task is made.

    ONNX and the program are compared with the network on images of the test set before anything is written.

    \b
    Examples:
      autost-optuna export demo --knee -o my-network
      autost-optuna export demo --trial 7 -o my-network.zip --standalone
    """
    quiet_optuna()
    from autost_optuna.delivery.export import Contents
    from autost_optuna.delivery.export import export as export_bundle

    trials = () if trial is None else (trial,)
    choice = Selection(network=network, task=task, trials=trials, knee=knee, exact=exact, most=1)
    search, (candidate,), names = selected(study, choice, storage, data_root=data_root)
    if nir:
        _refuse_nir(candidate.architecture, search.settings.task)
    with _terminable():
        contents = Contents(weights=checkpoint, plain=standalone)
        export_bundle(search, candidate, output, contents, force=force, data_root=data_root)
    weights = "trained weights" if checkpoint else "untrained weights (at initialisation)"
    what = names[candidate.architecture.key] if candidate.number is None else f"trial {candidate.number}"
    click.echo(f"wrote {output}: {what}, {describe_candidate(candidate)}, {weights}")
    _print_files(output, search)


def _refuse_nir(architecture: "Architecture", task: "Task") -> NoReturn:
    """Print each kind of part that NIR has no node for, then ValueError: every spiking transformer has some."""
    from autost_optuna.delivery.nir import inexpressible

    kinds = inexpressible(architecture, task)
    for kind, names in kinds.items():
        click.echo(f"{kind}: {', '.join(names)}", err=True)  # the error's own list, so --quiet does not hide it
    count = sum(len(names) for names in kinds.values())
    raise ValueError(
        f"NIR cannot express {count} nodes of this network, listed above; leave out --nir, and use model.onnx"
    )


def _print_files(path: Path, search: "Search") -> None:
    """Print the files of a bundle, and what its audit lacks."""
    from autost_optuna.delivery.bundle import opened
    from autost_optuna.delivery.card import FILES

    with opened(path) as bundle:
        audited = bundle.manifest["audited"]
        rows = [[name, units.count(size, "B"), FILES[name]] for name, size in bundle.sizes.items()]
    printing.print_table(["file", "size", "what it is"], rows, left=["file", "what it is"])
    if not audited:
        printing.note(f"{away(search.settings)}, so audit.csv has no spike rates; --data-root DIR adds them")


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM end the command as Ctrl-C does, so that unfinished files are removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command(short_help="All steps in two minutes, on built-in data.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("autost-quickstart"),
    show_default=True,
    metavar="DIR",
    help="Folder for all results; with the same DIR again, it continues where it stopped.",
)
@click.option("--trials", default=300, show_default=True, help="Trials of the search.")
@click.option("--epochs", default=10, show_default=True, help="Epochs of the training.")
def quickstart(output: Path, trials: int, epochs: int) -> None:
    """Go through all steps in two minutes on built-in data: search, front, figure, train the knee, export.

    \b
    Example:
      autost-optuna quickstart -o first-look
    """
    if trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    quiet_optuna()
    from autost_optuna.delivery import quickstart as steps
    from autost_optuna.front.picks import knee
    from autost_optuna.search.summary import summarise
    from autost_optuna.training.orders import Means, orders
    from autost_optuna.training.recipe import Recipe

    recipe = Recipe(epochs=epochs)
    search = steps.open_quickstart(output)
    settings = search.settings
    click.echo(
        f"1/4 search {settings.space.size:,} spiking transformers for the task {settings.task.name}, without training"
    )
    missing = trials - summarise(search).health.trials
    if missing > 0 and run_search(search, missing).ending == "stopped":
        raise click.Abort
    figure = steps.draw_quickstart(search, output)
    members = search.front()
    member = knee(members)
    click.echo(f"2/4 front of {len(members)} members drawn in {figure}")
    click.echo(f"3/4 train the knee, trial {member.number}: {describe_candidate(member)}")
    trained = train_under_bars(search, orders(search, [member], recipe, 1, output / "trained"), Means(data="digits"))
    if not trained:
        raise ValueError(f"another process trains the knee of {output}; wait for it, then repeat the command")
    keep_board(search)
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
