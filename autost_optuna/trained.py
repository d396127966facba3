"""Trained networks: the second study of a search, `<name>.trained`, one trial a network; and who trains which one.

A network is trained once, whoever asks: before it trains, a process claims it. It looks for a trial with the network's key
that is complete or of a process that lives; finds none, and creates a running trial with the key and its owner, in one
write; looks again, and where another one came first, with a lower number, it gives way. Numbers are given in the order of
creation, and the storage sees to that, so of two at once exactly one goes on. The trial of a process that died is set to
failed by the next that looks.
"""

import contextlib
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autost_optuna import units
from autost_optuna.architecture import Architecture
from autost_optuna.artifacts import artifacts_of, copy, folder_of, upload
from autost_optuna.candidate import Candidate
from autost_optuna.enrol import name_metrics
from autost_optuna.location import shown
from autost_optuna.ownership import KEY, difference, find_trained, identity, is_of, owner_of
from autost_optuna.presence import Presence, owner_alive
from autost_optuna.settings import ATTRIBUTE
from autost_optuna.study import TRAINED, TRAINED_ENDING, TRAINED_METRICS, Search, load_study
from autost_optuna.transfer import Copied, copy_study
from autost_optuna.units import StrPath

OWNER = f"{ATTRIBUTE}:owner"
RECORD, RATES, REASON = "training", ("rates", "initial_rates"), "reason"
DROPPED, ACCURACIES = "dropped_out", "validation_accuracies"
SHOWN = 6  # decimals of an accuracy that a person looks at; the record has all
CURVE = ("epoch", "loss", "validation_accuracy", "mean_rate", "images_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What makes two trainings of a search one: architecture, data and their fingerprint, recipe without name, and seed.

    The task is that of the search.
    """

    architecture: str
    data: str
    data_fingerprint: str
    recipe_hash: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A trained network: how it was trained, how accurate it is, and its energy measured beside the predicted one.

    `number` is its trial, `search_trial` that of the search. `recipe` is the recipe's JSON form, `recipe_hash` of all of it
    but name and seed. Accuracies are shares of the images, 0 to 1. `energy_mj` is the mean over `images` images of the
    validation split under `convention`, `energy_std_mj` their standard deviation; `predicted_mj` was the energy at
    initialisation. `rates` and `initial_rates` are input spike rates by the name of the operation, `mean_rate` the mean over
    all spike-driven MACs. `path` is the folder of the checkpoint, `machine` the kind of machine. The
    validation accuracy is of the same `images`; the test accuracy of `test_images` of the test set, None: of all.
    """

    number: int
    search_trial: int
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

    def __post_init__(self) -> None:
        for name in ("validation_accuracy", "test_accuracy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)!r} is not a share; give one of 0 to 1")
        for name in ("energy_mj", "predicted_mj"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)!r} is no energy; give a positive number of mJ")

    @property
    def key(self) -> Key:
        """What tells it from the other trainings of its search."""
        return Key(
            architecture=self.architecture.key,
            data=self.data,
            data_fingerprint=self.data_fingerprint,
            recipe_hash=self.recipe_hash,
            seed=self.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "architecture": self.architecture.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Training":
        """Read the form of `to_dict`. ValueError where it is another version's."""
        try:
            return cls(**{**data, "architecture": Architecture.from_dict(data["architecture"])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"a trained network was stored by another version of autost-optuna ({error}); train it again"
            ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """That a network is being trained: its trial, and the process on which host."""

    number: int
    host: str
    process: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A network that dropped out of a halving (autost_optuna.halving) after `epochs` of its recipe's `all_epochs`.

    `number` is its pruned trial, `search_trial` that of the search. `validation_accuracies` are those after each epoch that was
    trained, more than `epochs` where it had been trained for more before. `path` is the folder of its state, from which a
    training to the end goes on.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to train a network, and the running trial that says so; it ends with `complete` or `fail`."""

    trainings: "Trainings"
    trial: FrozenTrial
    key: Key

    @property
    def number(self) -> int:
        """The number of its trial."""
        return self.trial.number

    def complete(self, training: Training, artifacts: Sequence[Path] = (), accuracies: Sequence[float] = ()) -> None:
        """Store what came of it, with copies of the files `artifacts` and the validation accuracy after each epoch.

        ValueError where it is another network's. OSError where the files cannot be copied. RuntimeError where another
        process took this one for dead.
        """
        if training.key != self.key:
            raise ValueError(f"the training is of {training.key}, the claim of {self.key}; store it under its own")
        study, folder = self.trainings.study, self.trainings.artifacts
        storage, record = study._storage, replace(training, number=self.number).to_dict()
        if artifacts and folder is None:
            raise ValueError(
                f"the storage {shown(self.trainings.storage)} is no file, and no folder for artifacts is given; name one"
            )
        attributes = {
            "test_accuracy": round(training.test_accuracy, SHOWN),
            **{name: record.pop(name) for name in RATES},  # apart, as a database bounds the size of each
            ACCURACIES: list(accuracies),
            RECORD: record,
        }
        try:
            for path in artifacts:
                if folder is not None:
                    upload(path, study, self.trial, folder)
            for name, value in attributes.items():
                storage.set_trial_user_attr(self.trial._trial_id, name, value)
            values = [round(training.validation_accuracy, SHOWN), training.energy_mj]
            storage.set_trial_state_values(self.trial._trial_id, TrialState.COMPLETE, values)
        except UpdateFinishedTrialError:
            raise RuntimeError(
                f"trial {self.number} of {study.study_name} was taken for abandoned, as nothing was heard of this machine; "
                f"what was trained is in {training.path}: repeat the command"
            ) from None

    def drop(self, epochs: int, accuracies: Sequence[float], *, all_epochs: int, path: Path) -> None:
        """End the trial as pruned: the network dropped out of a halving after `epochs`, with its accuracy after each so far."""
        dropped = {"epochs": epochs, "all_epochs": all_epochs, "path": str(path.resolve())}
        storage = self.trainings.study._storage
        with contextlib.suppress(UpdateFinishedTrialError):  # it was taken for abandoned, and others may train it
            for name, value in {ACCURACIES: list(accuracies), DROPPED: dropped}.items():
                storage.set_trial_user_attr(self.trial._trial_id, name, value)
            storage.set_trial_state_values(self.trial._trial_id, TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """Give the network up, so that others may train it; `reason` is kept with the trial."""
        self.trainings.give_up(self.trial, reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainings:
    """The trained networks of a search: an Optuna study, its storage, and the folder of its artifacts, None without one."""

    study: optuna.Study
    search: Search
    artifacts: Path | None

    @property
    def storage(self) -> str:
        """Where it is kept: the file or URL of its search."""
        return self.search.storage

    def all(self) -> list[Training]:
        """All trained networks, in the order of their trials."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [_training(trial) for trial in trials if _is_whole(trial)]

    def dropped(self) -> list[Dropped]:
        """The networks that dropped out of a halving and have not been trained to their end since, each at its last epoch."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        ended = {training.key for training in self.all()}
        found: dict[Key, Dropped] = {}
        for one in [_dropped(trial) for trial in trials if DROPPED in trial.user_attrs and KEY in trial.system_attrs]:
            if one.key not in ended:
                found[one.key] = max(found.get(one.key, one), one, key=lambda one: len(one.validation_accuracies))
        return sorted(found.values(), key=lambda one: one.number)

    def accuracies(self) -> dict[Key, tuple[float, ...]]:
        """The validation accuracy after each epoch of all networks that ended, or dropped out, with it kept here."""
        kept = {one.key: one.validation_accuracies for one in self.dropped()}
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ended = [t for t in trials if t.user_attrs.get(ACCURACIES) and KEY in t.system_attrs]
        return {**kept, **{Key(**t.system_attrs[KEY]): tuple(t.user_attrs[ACCURACIES]) for t in ended}}

    def find(self, key: Key) -> Training | None:
        """The trained network of that key, the first where there are several."""
        return next((training for training in self.all() if training.key == key), None)

    def claim(
        self,
        candidate: Candidate,
        *,
        recipe_name: str,
        recipe_hash: str,
        seed: int,
        data: str,
        data_fingerprint: str,
        presence: Presence,
    ) -> Claim | Training | Taken:
        """Claim a member of the search to train it, while `presence` on this study is in context.

        A Claim is this process's; a Training is done, by whomever; Taken is being trained by a process that is alive.
        """
        key = Key(
            architecture=candidate.architecture.key,
            data=data,
            data_fingerprint=data_fingerprint,
            recipe_hash=recipe_hash,
            seed=seed,
        )
        found = self._found(key)
        if found is not None:
            return found
        origin = self._origin(candidate)
        template = create_trial(
            state=TrialState.RUNNING,
            params=origin.params,
            distributions=origin.distributions,
            user_attrs={
                "search_trial": origin.number,
                "recipe": recipe_name,
                "seed": seed,
                "data": data,
                "predicted_mj": candidate.energy_mj,
            },
            system_attrs={KEY: asdict(key), OWNER: presence.owner()},
        )
        storage = self.study._storage
        trial = storage.get_trial(storage.create_new_trial(self.study._study_id, template))
        found = self._found(key, before=trial.number)
        if found is None:
            return Claim(trainings=self, trial=trial, key=key)
        self.give_up(trial, f"trial {found.number} of the same network came first")
        return found

    def give_up(self, trial: FrozenTrial, reason: str) -> None:
        """Set a trial to failed, unless another process was faster."""
        try:
            self.study._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
            self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            pass

    def _found(self, key: Key, before: int | None = None) -> Training | Taken | None:
        """Who has trained the network of `key`, or does, in a trial `before` that number. What dead processes left fails."""
        # In this order: whoever started one of these trials had said before that it was there, so the second look sees it.
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        runs = self.study._storage.get_study_system_attrs(self.study._study_id)
        taken = None
        for trial in (t for t in trials if before is None or t.number < before):
            ours = trial.system_attrs.get(KEY) == asdict(key)
            owner = trial.system_attrs.get(OWNER)
            if trial.state == TrialState.COMPLETE and ours and _is_whole(trial):
                return _training(trial)
            if trial.state == TrialState.RUNNING and owner is not None:
                if not owner_alive(owner, runs):
                    self.give_up(trial, "its process ended before it was done")
                elif ours and taken is None:
                    process = owner["processes"][0][0]
                    taken = Taken(number=trial.number, host=owner["machine"].partition(" ")[0], process=process)
        return taken

    def _origin(self, candidate: Candidate) -> FrozenTrial:
        """The trial of the search that evaluated a candidate."""
        if candidate.number is None:
            raise ValueError(f"{candidate.architecture.to_text()} is of no trial; train candidates of a search")
        study = self.search.study
        return study._storage.get_trial(
            study._storage.get_trial_id_from_study_id_trial_number(study._study_id, candidate.number)
        )


def open_trained(search: Search, *, create: bool = False, artifacts: StrPath | None = None) -> Trainings:
    """The trained networks of a search, with `create` made where there are none yet, by several processes at once if need be.

    They are found also where either study was renamed. `artifacts` is the folder of learning curves; by default it is beside
    the storage's file. ValueError if there are none, if the study of that name is none of ours or of another search, or if it
    is not clear whose they are.
    """
    named, storage = search.study.study_name + TRAINED_ENDING, search.study._storage
    name = find_trained(search) or (named if create else None)
    if name is None:
        command = units.command("train", search.study.study_name, "--knee")
        raise ValueError(f"study {search.study.study_name} has no trained networks yet; {command} makes one")
    study = (
        _make(name, search) if create else optuna.load_study(study_name=name, storage=storage, sampler=NSGAIISampler())
    )
    there, ours = study.user_attrs.get(TRAINED), identity(search.settings, search.study.study_name)
    if there is None and (study.get_trials(deepcopy=False) or not create) and not is_of(search, name):
        raise ValueError(
            f"study {name!r} in {shown(search.storage)} was not made by autost-optuna, or not to the end; delete it, "
            "or give the search another name"
        )
    if create and there is not None and find_trained(search) != name:  # that of another one, which was called so
        owner = owner_of(storage, name) or "another search"
        raise ValueError(f"study {name} holds networks of {owner}; rename it, or give this search another name")
    if there is not None and (part := difference(there, ours)):
        raise ValueError(
            f"study {name} holds networks of a search with another {part} than {search.study.study_name} has now; "
            f"delete it by {units.command('study', 'delete', name)}, or search under another name"
        )
    if create and there != ours:  # new, what a kill left, or of a renamed search: whoever else is here writes the same
        name_metrics(study, TRAINED_METRICS)
        study.set_user_attr(TRAINED, ours)
    return Trainings(study=study, search=search, artifacts=Path(artifacts) if artifacts else folder_of(search.storage))


def trainings_of(search: Search) -> list[Training]:
    """The trained networks of a search, none where nothing was trained. ValueError where they are of another search."""
    if find_trained(search) is None:
        return []
    return open_trained(search).all()


def dropped_of(search: Search) -> list[Dropped]:
    """The networks of a search that dropped out of a halving, none where nothing was trained."""
    if find_trained(search) is None:
        return []
    return open_trained(search).dropped()


def copy_trained(study: optuna.Study, storage: str, to: str, *, name: str | None = None) -> tuple[Copied, int]:
    """Copy trained networks, with their artifacts where both storages are files, to the storage `to`, as `name` if given.

    Also returns how many artifacts stay behind. ValueError where the name is not of the form NAME.trained.
    """
    name = name or study.study_name
    if not name.removesuffix(TRAINED_ENDING) or not name.endswith(TRAINED_ENDING):
        raise ValueError(
            f"trained networks cannot be called {name!r}; name them after their search: NAME{TRAINED_ENDING}"
        )
    made = copy_study(study, to, name=name)
    if name != study.study_name:
        named = {**study.user_attrs[TRAINED], "search": name.removesuffix(TRAINED_ENDING)}
        load_study(name, to, write=True).set_user_attr(TRAINED, named)
    return made, copy(artifacts_of(study), folder_of(storage), folder_of(to))


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a learning curve as CSV, a row per epoch with the columns of CURVE; optuna-dashboard shows it as a table.

    Figures have six significant digits; a trial keeps its accuracies whole.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CURVE, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
            for row in rows
        )


def _make(name: str, search: Search) -> optuna.Study:
    """A new study of trained networks, or the one that is there."""
    storage = search.study._storage
    try:
        return optuna.create_study(
            study_name=name, storage=storage, sampler=NSGAIISampler(), directions=["maximize", "minimize"]
        )
    except DuplicatedStudyError:
        return optuna.load_study(study_name=name, storage=storage, sampler=NSGAIISampler())


def _is_whole(trial: FrozenTrial) -> bool:
    """Whether all of a training is there: of a rescued journal, a part of it may be lost."""
    return {RECORD, *RATES} <= trial.user_attrs.keys()


def _training(trial: FrozenTrial) -> Training:
    attributes = trial.user_attrs
    stored = {**attributes[RECORD], **{name: attributes[name] for name in RATES}, "number": trial.number}
    return Training.from_dict(stored)


def _dropped(trial: FrozenTrial) -> Dropped:
    attributes = trial.user_attrs
    return Dropped(
        number=trial.number,
        search_trial=attributes["search_trial"],
        key=Key(**trial.system_attrs[KEY]),
        recipe_name=attributes["recipe"],
        validation_accuracies=tuple(attributes[ACCURACIES]),
        **attributes[DROPPED],
    )
