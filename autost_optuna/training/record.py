"""What is stored about a network that is trained, is being trained, or dropped out of a halving."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from autost_optuna.network.architecture import Architecture
from autost_optuna.search.ownership import KEY

RECORD, RATES, REASON = "training", ("rates", "initial_rates"), "reason"
DROPPED, ACCURACIES = "dropped_out", "validation_accuracies"
CURVE = ("epoch", "loss", "validation_accuracy", "mean_rate", "images_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The identity of a training within a search: architecture, data and their fingerprint, recipe without name, and seed.

    The task is that of the search.
    """

    architecture: str
    data: str
    data_fingerprint: str
    recipe_hash: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A trained network: how it was trained, its accuracy, and its measured energy beside the predicted one.

    `number` is its trial, `search_trial` that of the search; a `network` of no trial has a name instead. `recipe` is the
    recipe's JSON form, `recipe_hash` covers all of it except name and seed. Accuracies are shares of the images, 0 to 1.
    `energy_mj` is the mean over `images` images of the validation split under `convention`, `energy_std_mj` their standard
    deviation; `predicted_mj` is the energy at initialisation. `rates` and `initial_rates` are input spike rates by
    operation, `mean_rate` is the mean over all spike-driven MACs. `path` is the folder of the checkpoint, `machine` the
    kind of machine. The validation accuracy uses the same `images`; the test accuracy uses `test_images` of the test set,
    or all if None.
    """

    number: int
    search_trial: int | None
    architecture: Architecture
    seed: int
    recipe: dict[str, Any]
    recipe_hash: str
    recipe_name: str
    data: str
    data_fingerprint: str
    validation_accuracy: float
    test_accuracy: float
    energy_mj: float
    energy_std_mj: float
    images: int
    convention: str
    mean_rate: float
    rates: dict[str, float]
    initial_rates: dict[str, float]
    predicted_mj: float
    params: int
    flops: int
    epochs: int
    images_per_s: float
    duration_s: float
    path: str
    machine: str
    versions: dict[str, str]
    test_images: int | None = None
    network: str | None = None

    def __post_init__(self) -> None:
        for name in ("validation_accuracy", "test_accuracy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)!r} is not a share; give one of 0 to 1")
        for name in ("energy_mj", "predicted_mj"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)!r} is not an energy; give a positive number of mJ")

    @property
    def title(self) -> str:
        """What was trained, in words: "trial 7", or the network's name."""
        return str(self.network) if self.search_trial is None else f"trial {self.search_trial}"

    @property
    def key(self) -> Key:
        """What distinguishes it from the other trainings of its search."""
        return Key(
            architecture=self.architecture.key,
            data=self.data,
            data_fingerprint=self.data_fingerprint,
            recipe_hash=self.recipe_hash,
            seed=self.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        row = {**asdict(self), "architecture": self.architecture.to_dict()}
        if self.network is None:
            del row["network"]
        return row

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Record":
        """Read the form of `to_dict`. ValueError if another version wrote it."""
        try:
            return cls(**{**data, "architecture": Architecture.from_dict(data["architecture"])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"a trained network was stored by another version of autost-optuna ({error}); train it again"
            ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A network that is being trained: its trial, and the process and host."""

    number: int
    host: str
    process: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A network that dropped out of a halving (autost_optuna.training.halving) after `epochs` of its recipe's `all_epochs`.

    `number` is its pruned trial, `search_trial` that of the search. `validation_accuracies` has one entry per trained epoch,
    more than `epochs` if it had been trained for longer before. `path` is the folder of its state, from which a complete
    training continues.
    """

    number: int
    search_trial: int
    key: Key
    recipe_name: str
    epochs: int
    all_epochs: int
    validation_accuracies: tuple[float, ...]
    path: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a learning curve as CSV, one row per epoch with the columns of CURVE; optuna-dashboard shows it as a table.

    Figures have six significant digits; the trial stores its accuracies in full.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CURVE, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
            for row in rows
        )


def is_whole(trial: FrozenTrial) -> bool:
    """Whether a trial holds all parts of a training: a rescued journal may have lost some."""
    return {RECORD, *RATES} <= trial.user_attrs.keys()


def record_from(trial: FrozenTrial) -> Record:
    """The record that a complete trial stores."""
    attributes = trial.user_attrs
    stored = {**attributes[RECORD], **{name: attributes[name] for name in RATES}, "number": trial.number}
    return Record.from_dict(stored)


def dropped_from(trial: FrozenTrial) -> Dropped:
    """The dropped network that a pruned trial stores."""
    attributes = trial.user_attrs
    return Dropped(
        number=trial.number,
        search_trial=attributes["search_trial"],
        key=Key(**trial.system_attrs[KEY]),
        recipe_name=attributes["recipe"],
        validation_accuracies=tuple(attributes[ACCURACIES]),
        **attributes[DROPPED],
    )
