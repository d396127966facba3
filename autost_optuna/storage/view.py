"""Optuna's storage of a journal, with a view of a study's trials that does not copy them all."""

import contextlib
import copy
import threading
from collections.abc import Container, Iterator, Sequence
from typing import Any, overload

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.storage.journal import JournalFile


class Journal(JournalStorage):
    """Optuna's storage of a journal, faster for many trials with dozens of parameters.

    A trial's parameters can be written `together`, and finding unfinished trials takes no longer the more have finished.
    """

    def __init__(self, file: JournalFile) -> None:
        self._finished: dict[int, list[FrozenTrial]] = {}  # by study: its first trials, as long as they have finished
        self._together: int | None = None
        self._kept: list[dict[str, Any]] = []
        self._declared: dict[tuple[int, str], BaseDistribution] = {}  # by study and parameter
        super().__init__(file)

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "_finished": {}, "_together": None, "_kept": [], "_declared": {}}

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Write a parameter, now or with others. Errors are Optuna's."""
        log = {
            "trial_id": trial_id,
            "param_name": param_name,
            "param_value_internal": param_value_internal,
            "distribution": distribution_to_json(distribution),
        }
        with self._thread_lock:
            log = self._line(JournalOperation.SET_TRIAL_PARAM, log)
            self._replay_result._trial_exists_and_updatable(trial_id, log)
            place = self._replay_result._trial_id_to_study_id[trial_id], param_name
            if place in self._declared and self._together == threading.get_ident():
                check_distribution_compatibility(self._declared[place], distribution)
                self._kept.append(log)
                return
            self._append([log])  # Optuna compares the first with those of all trials
            self._sync_with_backend()
            self._declared[place] = distribution

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Within the context, write parameters of this thread's trial at once: at its end, or before anything is read."""
        self._together = threading.get_ident()
        try:
            yield
        finally:
            self._together = None
            with self._thread_lock:
                self._sync_with_backend()

    def _line(self, operation: int, fields: dict[str, Any]) -> dict[str, Any]:
        return {"op_code": operation, "worker_id": self._replay_result.worker_id, **fields}

    def _append(self, logs: list[dict[str, Any]]) -> None:
        if whole := [*self._kept, *logs]:
            self._backend.append_logs(whole)  # all or, with an error, nothing
            self._kept = []

    def _write_log(self, op_code: int, extra_fields: dict[str, Any]) -> None:
        self._append([self._line(op_code, extra_fields)])

    def _sync_with_backend(self) -> None:
        self._append([])
        failure: UpdateFinishedTrialError | None = None
        while True:
            try:
                super()._sync_with_backend()
                break
            except UpdateFinishedTrialError as error:  # one for each line that was kept, and one is enough
                failure = failure or error
        if failure is not None:
            raise failure

    def view(self, study_id: int) -> "View":
        """All trials of a study, not copied."""
        with self._thread_lock:
            self._sync_with_backend()
            self._replay_result.get_study(study_id)  # KeyError if there is none
            trials, numbers = self._replay_result._trials, self._replay_result._study_id_to_trial_ids[study_id]
            first = self._finished.setdefault(study_id, [])
            others = [trials[number] for number in numbers[len(first) :]]
            done = next((place for place, trial in enumerate(others) if not trial.state.is_finished()), len(others))
            first += others[:done]  # a finished trial never changes
            return View(first, others[done:])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials of a study in one of `states`, as Optuna lists them."""
        if states is None or any(state in states for state in TrialState if state.is_finished()):
            return super().get_all_trials(study_id, deepcopy, states)
        found = [trial for trial in self.view(study_id).others if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class View(Sequence[FrozenTrial]):
    """Trials by number: the first, which have finished, and all others."""

    def __init__(self, first: list[FrozenTrial], others: list[FrozenTrial]) -> None:
        self.first, self.others, self._start = first, others, len(first)  # others may append to `first` meanwhile

    def __len__(self) -> int:
        return self._start + len(self.others)

    @overload
    def __getitem__(self, place: int) -> FrozenTrial: ...
    @overload
    def __getitem__(self, place: slice) -> list[FrozenTrial]: ...
    def __getitem__(self, place: int | slice) -> FrozenTrial | list[FrozenTrial]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return self.first[place] if place < self._start else self.others[place - self._start]
