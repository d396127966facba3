"""Claims: each network of a search is trained once, even from several terminals.

Before it trains, a process claims the network. It looks for a trial with the network's key that is complete, or whose process
is alive. If there is none, it creates a running trial with the key and its owner in one write, and looks again. If another
trial with that key has a lower number, it withdraws. The storage numbers trials in the order of creation, so exactly one of
two processes continues. The next process that looks sets the trial of a dead process to failed.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from autost_optuna.front.candidate import Candidate
from autost_optuna.search.ownership import KEY
from autost_optuna.search.presence import Presence, owner_alive
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.storage.artifacts import upload
from autost_optuna.storage.location import shown
from autost_optuna.training.record import (
    ACCURACIES,
    DROPPED,
    RATES,
    REASON,
    RECORD,
    Dropped,
    Key,
    Record,
    Taken,
    dropped_from,
    is_whole,
    record_from,
)

OWNER = f"{ATTRIBUTE}:owner"
SHOWN = 6  # decimals of accuracies that people see; the record has all


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to train a network, and the running trial that says so; it ends with `complete` or `fail`."""

    trainings: "Records"
    trial: FrozenTrial
    key: Key

    @property
    def number(self) -> int:
        """The number of its trial."""
        return self.trial.number

    def complete(self, training: Record, artifacts: Sequence[Path] = (), accuracies: Sequence[float] = ()) -> None:
        """Store the result, with copies of the files `artifacts` and the validation accuracy after each epoch.

        ValueError if it belongs to another network. OSError if the files cannot be copied. RuntimeError if another
        process assumed that this one was dead.
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
            **{
                name: record.pop(name) for name in RATES
            },  # stored separately, because a database limits the size of each
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
        with contextlib.suppress(
            UpdateFinishedTrialError
        ):  # another process assumed that it was abandoned, and may train it
            for name, value in {ACCURACIES: list(accuracies), DROPPED: dropped}.items():
                storage.set_trial_user_attr(self.trial._trial_id, name, value)
            storage.set_trial_state_values(self.trial._trial_id, TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """Give up the network, so that others may train it; `reason` is stored with the trial."""
        self.trainings.give_up(self.trial, reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """The trained networks of a search: an Optuna study, its storage, and the folder of its artifacts, if any."""

    study: optuna.Study
    search: Search
    artifacts: Path | None

    @property
    def storage(self) -> str:
        """The file or URL of its search."""
        return self.search.storage

    def all(self) -> list[Record]:
        """All trained networks, in the order of their trials."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [record_from(trial) for trial in trials if is_whole(trial)]

    def dropped(self) -> list[Dropped]:
        """The networks that dropped out of a halving and have not been fully trained since, each at its last epoch."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        ended = {training.key for training in self.all()}
        found: dict[Key, Dropped] = {}
        for one in [
            dropped_from(trial) for trial in trials if DROPPED in trial.user_attrs and KEY in trial.system_attrs
        ]:
            if one.key not in ended:
                found[one.key] = max(found.get(one.key, one), one, key=lambda one: len(one.validation_accuracies))
        return sorted(found.values(), key=lambda one: one.number)

    def accuracies(self) -> dict[Key, tuple[float, ...]]:
        """The validation accuracies after each epoch, for all networks that ended or dropped out with them stored."""
        kept = {one.key: one.validation_accuracies for one in self.dropped()}
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ended = [t for t in trials if t.user_attrs.get(ACCURACIES) and KEY in t.system_attrs]
        return {**kept, **{Key(**t.system_attrs[KEY]): tuple(t.user_attrs[ACCURACIES]) for t in ended}}

    def find(self, key: Key) -> Record | None:
        """The first trained network with that key."""
        return next((training for training in self.all() if training.key == key), None)

    def claim(
        self, candidate: Candidate, key: Key, *, recipe_name: str, presence: Presence, network: str = ""
    ) -> Claim | Record | Taken:
        """Claim a member of the search to train it as `key` says, while `presence` on this study is in context.

        A candidate of no trial needs the name of its `network`. A Claim lets this process train it; a Record is a finished
        training; Taken means that a live process is training it. ValueError if the candidate has neither trial nor name, or
        the key is of another architecture.
        """
        if key.architecture != candidate.architecture.key:
            raise ValueError(
                f"the key is of {key.architecture}, the candidate {candidate.architecture.key}; give its own"
            )
        found = self._found(key)
        if found is not None:
            return found
        origin = self._origin(candidate) if not network or candidate.number is not None else None
        named = {"network": network} if origin is None else {"search_trial": origin.number}
        template = create_trial(
            state=TrialState.RUNNING,
            params=origin.params if origin else {},
            distributions=origin.distributions if origin else {},
            user_attrs={
                **named,
                "recipe": recipe_name,
                "seed": key.seed,
                "data": key.data,
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
        """Set a trial to failed, unless another process has ended it."""
        try:
            self.study._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
            self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            pass

    def _found(self, key: Key, before: int | None = None) -> Record | Taken | None:
        """The finished or running training of `key` in a trial `before` that number. Trials of dead processes fail."""
        # In this order: a process announces itself before it starts a trial, so the second look sees it.
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        runs = self.study._storage.get_study_system_attrs(self.study._study_id)
        taken = None
        for trial in (t for t in trials if before is None or t.number < before):
            ours = trial.system_attrs.get(KEY) == asdict(key)
            owner = trial.system_attrs.get(OWNER)
            if trial.state == TrialState.COMPLETE and ours and is_whole(trial):
                return record_from(trial)
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
