"""Workers: separate processes that run one trial after the other, and take a ticket before they ask for each."""

import contextlib
import pickle
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from autost_optuna.front.candidate import Candidate
from autost_optuna.search.objective import Objective
from autost_optuna.search.pool import Pool, on_stop
from autost_optuna.search.presence import RETRY, held
from autost_optuna.search.sampler import DeclaredNSGAIISampler, SpaceExhausted
from autost_optuna.search.search import Search
from autost_optuna.search.study import open_search

TICKET = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerMessage:
    """What became of a ticket. "started": a trial; "finished": one that counts, with its candidate if it has one; "lost": one
    that does not count, because another run assumed that this one was dead; "exhausted": no trial, as no point is left."""

    kind: Literal["started", "finished", "lost", "exhausted"]
    number: int | None = None
    candidate: Candidate | None = None


def run_trial(
    study: optuna.Study, objective: Objective, on_start: Callable[[int], None] = lambda number: None
) -> WorkerMessage:
    """Run one trial to its end. An error leaves the trial failed."""
    sampler = study.sampler
    exhausted = isinstance(sampler, DeclaredNSGAIISampler) and sampler.exhausted(study)
    if exhausted and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return WorkerMessage(kind="exhausted")  # before asking for a trial in vain
    trial = study.ask()
    on_start(trial.number)
    candidate = None
    try:
        if RETRY in trial.user_attrs and held(study, study._storage.get_trial(trial._trial_id)):
            study.tell(trial, state=TrialState.FAIL)
            return WorkerMessage(kind="lost", number=trial.number)
        study.tell(trial, objective(trial))
        known = objective.evaluate(objective.space.architecture(trial.params))
        candidate = replace(known, number=trial.number)
    except SpaceExhausted:  # others took the last points after this trial was requested
        study.tell(trial, state=TrialState.FAIL)
        return WorkerMessage(kind="exhausted")
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except UpdateFinishedTrialError:
        return WorkerMessage(kind="lost", number=trial.number)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to report
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    return WorkerMessage(kind="finished", number=trial.number, candidate=candidate)


def make_pool(search: Search, objective: Objective, count: int) -> Pool:
    """Workers with one thread of torch each, which search with copies of `objective`.

    A worker asks for a trial only when it gets a ticket, so there are as many trials as tickets.
    """
    study = search.study.study_name, search.storage
    return Pool(_searching, study, [pickle.dumps(objective)], [{"OMP_NUM_THREADS": "1"}] * count)


@contextlib.contextmanager
def _searching(
    name: str, storage: str, say: Callable[[WorkerMessage], None], pickled: bytes
) -> Iterator[Callable[[int], WorkerMessage]]:
    """The work of a worker. It leaves Ctrl-C and SIGTERM, which reach the whole group, to the parent process."""
    on_stop(signal.SIG_IGN)
    study = open_search(name, storage, write=True).study
    objective: Objective = pickle.loads(pickled)

    def trial(ticket: int) -> WorkerMessage:
        return run_trial(study, objective, lambda number: say(WorkerMessage(kind="started", number=number)))

    yield trial
