"""Which study holds the trained networks of a search: NAME.trained, also after either of the two was renamed.

optuna-dashboard renames a study by copying it: trials keep their numbers, parameters and attributes, and the study its user
attributes, but not its identifier. So networks belong to the search that has the trials they were trained of: the same
numbers, architectures and predicted energies. Where several searches have these, as copies do, names decide; where none has,
since the search was deleted and made anew, so does the name.
"""

import contextlib
from dataclasses import asdict
from typing import Any, TypeAlias

from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE, Settings
from autost_optuna.search.study import TRAINED, TRAINED_ENDING

KEY = f"{ATTRIBUTE}:key"  # of a trained network: the fields of trained.Key

# By the number of a search's trial: the key of its architecture, and the energy in mJ that was predicted of it.
Origins: TypeAlias = dict[int, tuple[str, float]]


def identity(settings: Settings, name: str) -> dict[str, Any]:
    """The search `name` in words, and what its trained networks have in common."""
    return {
        "search": name,
        "task": asdict(settings.task),
        "convention": settings.convention.label,
        "space": settings.space.to_dict(),
    }


def identities_differ(there: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first part in which two identities differ, whatever the searches are called; None if they are alike."""
    return next((part for part in ours if there.get(part) != ours[part] and part != "search"), None)


def find_trained(search: Search) -> str | None:
    """The name of the study that holds the trained networks of a search, None if there is none.

    ValueError if several studies do, or if it is not clear whose networks a study holds.
    """
    storage, name = search.study._storage, search.study.study_name
    studies, named = _by_name(storage), name + TRAINED_ENDING
    if named in studies and (TRAINED not in studies[named].user_attrs or _owners(storage, studies, named) == [name]):
        return named
    ours, found = identity(search.settings, name), []
    for holder, study in studies.items():
        if TRAINED in study.user_attrs and not identities_differ(study.user_attrs[TRAINED], ours):
            owners = _owners(storage, studies, holder)
            if owners == [name]:
                found.append(holder)
            elif name in owners:
                command = units.command("study", "copy", holder, "--to", "STORAGE", "--as", named)
                raise ValueError(f"the networks in {holder} may be of {' or '.join(owners)}; {command} settles it")
    if len(found) > 1:
        raise ValueError(f"{' and '.join(found)} hold networks of {name}; rename one to {named}, or delete all but one")
    return found[0] if found else None


def is_of(search: Search, holder: str) -> bool:
    """Whether a study holds networks that were trained of a search, by its trials alone."""
    storage, name = search.study._storage, search.study.study_name
    studies = _by_name(storage)
    origins = _origins(storage, studies[holder])
    return bool(origins) and _has(storage, studies[name], origins)


def owner_of(storage: BaseStorage, holder: str) -> str | None:
    """The search whose trained networks the study `holder` holds; None if it holds none, or if that is not clear."""
    studies = _by_name(storage)
    owners = _owners(storage, studies, holder) if TRAINED in studies[holder].user_attrs else []
    return owners[0] if len(owners) == 1 else None


def _by_name(storage: BaseStorage) -> dict[str, FrozenStudy]:
    return {study.study_name: study for study in sorted(storage.get_all_studies(), key=lambda one: one.study_name)}


def _owners(storage: BaseStorage, studies: dict[str, FrozenStudy], holder: str) -> list[str]:
    """The search whose networks `holder` holds; several if that is not clear, none if it is gone."""
    there = studies[holder].user_attrs[TRAINED]
    named, origins = holder.removesuffix(TRAINED_ENDING), _origins(storage, studies[holder])
    alike = [name for name, study in studies.items() if origins and _is_alike(study, there)]
    alike.sort(key=lambda name: (name != named, name != there["search"], name))
    having = []
    for name in alike:
        if _has(storage, studies[name], origins):
            if name in (named, there["search"]):
                return [name]
            having.append(name)
    return having or [name for name in (named,) if name in studies and TRAINED not in studies[name].user_attrs]


def _origins(storage: BaseStorage, holder: FrozenStudy) -> Origins:
    """What the networks of a study, trained or in training, were made of."""
    trials = storage.get_all_trials(holder._study_id, deepcopy=False)
    return {
        trial.user_attrs["search_trial"]: (trial.system_attrs[KEY]["architecture"], trial.user_attrs["predicted_mj"])
        for trial in trials
        if KEY in trial.system_attrs and {"search_trial", "predicted_mj"} <= trial.user_attrs.keys()
    }


def _is_alike(study: FrozenStudy, there: dict[str, Any]) -> bool:
    """Whether a study is a search with the task, convention and space of an identity."""
    with contextlib.suppress(KeyError, ValueError):  # of another program, or of another version of this one
        return not identities_differ(there, identity(Settings.from_dict(study.user_attrs[ATTRIBUTE]), study.study_name))
    return False


def _has(storage: BaseStorage, search: FrozenStudy, origins: Origins) -> bool:
    """Whether a search has all these trials."""
    found: Origins = {}
    for trial in storage.get_all_trials(search._study_id, deepcopy=False):
        if trial.number in origins and "candidate" in trial.user_attrs:
            candidate = Candidate.from_dict(trial.user_attrs["candidate"])
            found[trial.number] = (candidate.architecture.key, candidate.energy_mj)
    return found == origins
