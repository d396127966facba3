"""Patience with a server that becomes unavailable for seconds: calls to its storage are repeated without doubling a trial."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

WAIT_S = 60.0
PAUSE_S = 0.25
# A call whose answer was lost may have taken effect. Repeated, these would fail or take effect twice.
ONCE = ("create_new_study", "delete_study")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A storage driver's message, and whether the server may recover shortly."""

    reason: str
    passing: bool


class Patience:
    """Repeats calls to a storage while its server is unavailable, for at most WAIT_S seconds; then RuntimeError, one line.

    After it has given up once, it does not wait again until a call succeeds, so that a command ends.
    """

    def __init__(self, name: str, failure: Callable[[Exception], Failure | None]) -> None:
        self._name = name
        self._failure = failure
        self._given_up = False

    def patient(
        self, call: Callable[P, R], again: Callable[P, R] | None = None, *, once: bool = False
    ) -> Callable[P, R]:
        """`call`, repeated while it fails temporarily: through `again` if it may have taken effect, never if `once`."""

        @functools.wraps(call)
        def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
            start, chosen = time.monotonic(), call
            while True:
                try:
                    result = chosen(*args, **kwargs)
                except Exception as error:
                    failure = self._failure(error)
                    if failure is None:
                        raise
                    waited = time.monotonic() - start
                    if not failure.passing or once or self._given_up or waited >= WAIT_S:
                        self._given_up = True
                        raise RuntimeError(self._said(failure)) from None
                    chosen = again or call
                    time.sleep(PAUSE_S)
                else:
                    self._given_up = False
                    return result

        return waiting

    def _said(self, failure: Failure) -> str:
        if failure.passing:
            return (
                f"the storage {self._name} does not answer ({failure.reason}); finished trials are safe: repeat the "
                "command once it does"
            )
        return f"the storage {self._name} failed ({failure.reason}); finished trials are safe: fix it and repeat"


def make_patient(storage: "BaseStorage", patience: Patience) -> "BaseStorage":
    """The same storage; its calls are repeated if that is safe, or made safe."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.storages import BaseStorage
    from optuna.trial import TrialState, create_trial

    create, finish = storage.create_new_trial, storage.set_trial_state_values
    for name in sorted(BaseStorage.__abstractmethods__ | {"get_trial_id_from_study_id_trial_number"}):
        setattr(storage, name, patience.patient(getattr(storage, name), once=name in ONCE))

    def create_from(study_id: int, template: "FrozenTrial") -> int:
        return create(study_id, template)

    def create_or_find(study_id: int, template: "FrozenTrial") -> int:
        # A trial started in this microsecond is the one whose creation got no answer.
        for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.datetime_start == template.datetime_start:
                return trial._trial_id
        return create(study_id, template)

    created_once = patience.patient(create_from, once=True)
    created = patience.patient(create_from, create_or_find)

    def create_new_trial(study_id: int, template_trial: "FrozenTrial | None" = None) -> int:
        if template_trial is not None:
            return created_once(study_id, template_trial)
        return created(study_id, create_trial(state=TrialState.RUNNING))

    def finish_unless_done(trial_id: int, state: "TrialState", values: Sequence[float] | None = None) -> bool:
        try:
            return finish(trial_id, state, values)
        except UpdateFinishedTrialError:
            there = storage.get_trial(trial_id)
            if there.state == state and there.values == (None if values is None else list(values)):
                return True
            raise

    storage.create_new_trial = create_new_trial  # type: ignore[method-assign]
    storage.set_trial_state_values = patience.patient(finish, finish_unless_done)  # type: ignore[method-assign]
    return storage
