"""Orders: which members of a search to train, how, and the messages about it."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from autost_optuna.data import Dataset
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.values import as_count
from autost_optuna.search.search import Search
from autost_optuna.storage.artifacts import folder_of
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.record import Key, Record
from autost_optuna.training.resume import Epoch, Result
from autost_optuna.training.trainer import AS_USUAL, TrainOptions
from autost_optuna.units import StrPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A network to train: a member of the search, or one of no trial that is called `network`, by a recipe with its seed.

    `folder` is where its state and result are kept. With `until`, it is trained to that epoch, and the caller already holds
    the claim.
    """

    candidate: Candidate
    recipe: Recipe
    folder: Path
    until: int | None = None
    network: str = ""

    @property
    def title(self) -> str:
        """What it trains, in words: "trial 7", or the network's name."""
        return self.network if self.candidate.number is None else f"trial {self.candidate.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What all orders share: the data set and its folder, how to train, and the number of processes."""

    data: str
    data_root: StrPath | None = None
    download: bool = False
    options: TrainOptions = AS_USUAL
    workers: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """News of the order at `index`.

    "batch": `done` of `total` batches of all epochs; "judged": `done` of `total` images in the judging phase `text`;
    "epoch": a line of its log; "forecast": how long all orders will take; "trained", possibly `before`, with the result;
    "taken": another process is training it; "failed", with the reason, by `itself` if the network failed and not its
    process; "stopped"; "reached": its last epoch for now, with the accuracy after each, and the result if it was the last
    epoch of all; "rung": the result of a rung for all.
    """

    kind: Literal["forecast", "batch", "judged", "epoch", "trained", "taken", "failed", "stopped", "reached", "rung"]
    index: int = -1
    done: int = 0
    total: int = 0
    line: Epoch | None = None
    training: Record | None = None
    before: bool = False
    text: str = ""
    itself: bool = False
    accuracies: tuple[float, ...] = ()
    trained: Result | None = None


Tell = Callable[[Message], None]


def orders(
    search: Search,
    candidates: Iterable[Candidate],
    recipe: Recipe,
    seeds: int,
    output: StrPath,
    networks: Mapping[str, str] | None = None,
) -> list[Order]:
    """Every candidate with every seed, starting at the recipe's; folders are `output`/STUDY-TRIAL, with -seedN for others.

    `networks` says what candidates of no trial are called, by the keys of their architectures.
    """
    made = []
    last = recipe.seed + as_count("seeds", seeds) - 1
    if last >= 2**32:
        raise ValueError(f"seeds {seeds} from seed {recipe.seed} on pass 4294967295; lower --seed")
    for candidate in candidates:
        network = (networks or {}).get(candidate.architecture.key, "")
        for seed in range(recipe.seed, last + 1):
            suffix = "" if seed == search.settings.seed else f"-seed{seed}"
            called = folder_name(network) if candidate.number is None else candidate.number
            folder = Path(output) / f"{folder_name(search.study.study_name)}-{called}{suffix}"
            made.append(Order(candidate=candidate, recipe=replace(recipe, seed=seed), folder=folder, network=network))
    return made


def folder_name(name: str) -> str:
    """A study's name in a form that suits a folder's name."""
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name)


def key_of(order: Order, dataset: Dataset) -> Key:
    """What distinguishes the network of an order from the others of its search."""
    return Key(
        architecture=order.candidate.architecture.key,
        data=dataset.name,
        data_fingerprint=dataset.fingerprint(),
        recipe_hash=order.recipe.hash,
        seed=order.recipe.seed,
    )


def process_rank() -> int:
    """The rank of this process under torchrun, 0 without it: the first process judges, writes and reports."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """The number of processes that torchrun started for one training, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def artifacts_folder(search: Search, todo: Sequence[Order]) -> Path:
    """The folder of learning curves: beside the storage's file, else beside the trained networks."""
    return folder_of(search.storage) or todo[0].folder.parent / "artifacts"
