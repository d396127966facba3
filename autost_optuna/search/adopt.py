"""Adopt: give a study that a program made with Objective the settings that every command reads."""

from dataclasses import dataclass

from optuna.trial import TrialState

from autost_optuna.search.enrol import CANDIDATE
from autost_optuna.search.objective import Objective
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE, check_population
from autost_optuna.search.study import TRAINED, load_study, open_search
from autost_optuna.search.summary import summarise
from autost_optuna.storage.location import shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """A study with its settings: `candidates` trials count, `outside` are outside its space, `others` have no candidate.

    If `known`, it already had these settings.
    """

    search: Search
    candidates: int
    outside: int
    others: int
    known: bool


def adopt(name: str, storage: str, objective: Objective, *, population: int) -> Adopted:
    """Write the settings of `objective` into the study `name`, which such an objective made in plain Optuna.

    ValueError if the study has no candidate, or if its candidates, directions or settings differ from the objective's.
    """
    check_population(population)
    study = load_study(name, storage, write=True)
    if TRAINED in study.user_attrs:
        raise ValueError(f"study {name!r} holds trained networks, which belong to a search; leave it as it is")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    others = sum(CANDIDATE not in trial.user_attrs for trial in complete)
    known = ATTRIBUTE in study.user_attrs
    if not known and others == len(complete):
        raise ValueError(
            f"study {name!r} in {shown(storage)} has no candidate to adopt: none of its {len(complete):,} complete trials was "
            "made by autost_optuna.Objective; run one in it, or create another study"
        )
    objective.adopt(study, population=population)
    search = open_search(name, storage, write=True)
    summary = summarise(search)
    return Adopted(search=search, candidates=summary.health.trials, outside=summary.outside, others=others, known=known)
