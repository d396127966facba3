"""autost-optuna train: train members of a study, each once, even from several terminals."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.selected import Selection, selected
from autost_optuna.cli.study import quiet_optuna
from autost_optuna.cli.teller import Teller
from autost_optuna.files import read_toml

if TYPE_CHECKING:
    from autost_optuna.search.search import Search
    from autost_optuna.training.orders import Means, Order
    from autost_optuna.training.recipe import Recipe
    from autost_optuna.training.record import Record

REPLACED = ("epochs", "batch_size", "accumulate", "lr", "images", "frames", "precision", "seed")


@click.command(short_help="Train members of a front, each once.")
@options.study_argument("study", required=False)
@options.network
@options.network_task
@click.option("--trial", "trials", type=int, multiple=True, metavar="N", help="A trial of the study; may be repeated.")
@click.option("--knee", is_flag=True, help="The knee of the front.")
@click.option("--front", type=int, metavar="K", help="The K members that study front --pick K selects.")
@click.option("--exact", type=int, metavar="K", help="The K members that study front --exact --pick K selects.")
@click.option(
    "--halving",
    is_flag=True,
    help="Train side by side: after rungs, each twice as many epochs, only the better half in validation accuracy goes on.",
)
@click.option("--seeds", default=1, show_default=True, metavar="K", help="Train each K times, with K seeds.")
@options.data
@options.data_root
@options.download
@click.option(
    "--recipe",
    default="short",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="How to train: short, cifar (the usual 300 epochs), or your own file. The options below override its values.",
)
@click.option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@click.option("--batch-size", type=int, help="Images per forward pass, over all processes of torchrun.")
@click.option("--accumulate", type=int, metavar="N", help="Batches per step of the optimizer.")
@click.option("--lr", type=float, help="Highest learning rate.")
@click.option(
    "--images", type=int, metavar="N", help="Train on N images of the training set, the same for all; 0: on all."
)
@click.option(
    "--eval-images",
    type=int,
    metavar="N",
    help="Judge accuracy and energy on N images of the validation split; by default on all or, with --images, on the same "
    "share of them, but at least 250.",
)
@click.option("--test-images", type=int, metavar="N", help="Judge on N images of the test set; by default on all.")
@click.option(
    "--frames", type=click.Choice(["count", "time"]), help="How to cut recordings: into frames of equal count or time."
)
@click.option("--precision", metavar="NAME", help="32-true, bf16-mixed or, on a GPU, 16-mixed.")
@click.option("--seed", type=int, help="The first seed; by default the recipe file's, else the study's.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    metavar="K",
    help="Train in K processes, each with its own GPU if there are any.",
)
@click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train.",
)
@click.option(
    "--compile", "fuse", is_flag=True, help="Fuse operations with torch.compile, which first takes some seconds."
)
@click.option("--tensorboard", is_flag=True, help="Write scalars for TensorBoard beside the weights.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trained"),
    show_default=True,
    metavar="DIR",
    help="Folder of the networks: DIR/STUDY-TRIAL, for other seeds DIR/STUDY-TRIAL-seedN.",
)
@options.storage
def train(
    study: str | None,
    network: str | None,
    task: str | None,
    trials: tuple[int, ...],
    knee: bool,
    front: int | None,
    exact: int | None,
    halving: bool,
    seeds: int,
    data: str | None,
    data_root: Path | None,
    download: bool,
    recipe: str,
    epochs: int | None,
    batch_size: int | None,
    accumulate: int | None,
    lr: float | None,
    images: int | None,
    eval_images: int | None,
    test_images: int | None,
    frames: str | None,
    precision: str | None,
    seed: int | None,
    workers: int,
    accelerator: str,
    fuse: bool,
    tensorboard: bool,
    output: Path,
    storage: str,
) -> None:
    """Train networks of STUDY; run again to resume. A network is never trained twice, even from several terminals.

    --network trains any network, published ones by name: beside those of STUDY, or else in a study named after the network
    and its task. Results go to the study STUDY.trained: accuracy on a validation split and energy measured on it. See
    study show STUDY and study front STUDY --trained. Under torchrun all processes train one network together.

    --halving looks for the most accurate member, so members with little energy drop out first. A member that drops out keeps
    its state: training without --halving continues from there.

    \b
    Examples:
      autost-optuna train demo --knee --epochs 5
      autost-optuna train demo --front 5 --seeds 3 --workers 2
      autost-optuna train demo --front 20 --halving
      autost-optuna train demo --network spikingformer-2-384
      torchrun --nproc-per-node 2 -m autost_optuna train demo --knee --recipe cifar --precision bf16-mixed
    """
    if workers > 1:  # the server imports torch while this process does
        from autost_optuna.search.pool import start_server

        start_server("autost_optuna.training.crew")
    quiet_optuna()
    from autost_optuna.training.evaluation import Judging
    from autost_optuna.training.orders import orders, process_rank
    from autost_optuna.training.trainer import TrainOptions

    choice = Selection(network=network, task=task, trials=trials, knee=knee, front=front, exact=exact)
    search, candidates, called = selected(study, choice, storage, data=data, data_root=data_root)
    values = (epochs, batch_size, accumulate, lr, images, frames, precision, seed)
    made = _recipe(recipe, search.settings.seed, dict(zip(REPLACED, values, strict=True)))
    todo = orders(search, candidates, made, seeds, output, called)
    means = replace(
        _means(search, data, data_root),
        download=download,
        options=TrainOptions(
            accelerator=accelerator,
            fuse=fuse,
            tensorboard=tensorboard,
            judging=Judging(eval_images=eval_images, test_images=test_images),
        ),
        workers=workers,
    )
    try:
        trained = train_under_bars(search, todo, means, halving=halving)
        if not process_rank():
            _print_trained(trained)
    finally:  # some may be trained before another fails
        if not process_rank():
            keep_board(search, data_root if data in (None, search.settings.data) else None)


def train_under_bars(
    search: "Search", todo: "Sequence[Order]", means: "Means", *, halving: bool = False
) -> "list[Record]":
    """Carry out orders under progress bars, with a line for each that ends. Abort if it was stopped."""
    from autost_optuna.training.halving import train_by_halving
    from autost_optuna.training.members import train_members
    from autost_optuna.training.orders import process_rank
    from autost_optuna.training.resume import Stopped

    train_all = train_by_halving if halving else train_members
    many = int(os.environ.get("WORLD_SIZE", 1)) > 1
    try:
        with printing.interruptible() as stopped, printing.bars("images") as update:
            teller = Teller(todo, update)
            # Processes of torchrun stop immediately, all at once, and resume from the last state.
            return train_all(
                search,
                todo,
                means,
                tell=(lambda message: None) if process_rank() else teller,
                on_frames=teller.frames,
                stopped=(lambda: False) if many else stopped,
            )
    except Stopped:
        printing.note("the state is kept; repeat the command to go on")
        raise click.Abort from None


def _recipe(source: str, seed: int, values: dict[str, Any]) -> "Recipe":
    """The recipe of a name or file, overridden by the options given.

    Its seed is the study's if neither an option nor the file sets one.
    """
    from autost_optuna.training.recipe import Recipe

    made = Recipe.load(source)
    if not (source.endswith(".toml") and "seed" in read_toml(Path(source), source)):
        made = replace(made, seed=seed)
    return replace(made, **{name: value for name, value in values.items() if value is not None})


def _means(search: "Search", data: str | None, data_root: Path | None) -> "Means":
    """The data to train the study's networks on, in the study's folder unless another is given.

    By default these are the images of the search, or the task's own if the search used other images in their place.
    """
    from autost_optuna.data import own_data, stand_in_warning
    from autost_optuna.training.orders import Means

    settings = search.settings
    if data_root is None and settings.data_root:
        data_root = Path(settings.data_root)
    stood_in = stand_in_warning(settings.data, settings.task) is not None
    return Means(data=data or (own_data(settings.task) if stood_in else settings.data), data_root=data_root)


def _print_trained(trained: "Sequence[Record]") -> None:
    rows = [
        [
            str(one.network if one.search_trial is None else one.search_trial),
            str(one.seed),
            one.recipe_name,
            f"{one.validation_accuracy:.2%}",
            f"{one.test_accuracy:.2%}",
            units.significant(one.predicted_mj, 4),
            units.significant(one.energy_mj, 4),
            f"{one.energy_mj / one.predicted_mj:.2f}",
        ]
        for one in trained
    ]
    columns = ["trial", "seed", "recipe", "validation", "test", "predicted mJ", "measured mJ", "ratio"]
    printing.print_table(columns, rows, left=["recipe"])
    if bounded := [f"{one.title}: {one.test_images:,}" for one in trained if one.test_images]:
        printing.note(f"test accuracy on a part of the test set: {', '.join(bounded)} images")
