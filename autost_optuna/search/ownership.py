"""Find the study that holds the trained networks of a search: NAME.trained, even after one of the two was renamed.

optuna-dashboard renames a study by copying it: trials keep their numbers, parameters and attributes, and the study keeps its
user attributes, but not its identifier. So networks belong to the search with the trials that they were trained from: the
same numbers, architectures and predicted energies. If several searches have these, as copies do, the name decides; likewise
if none has them, because the search was deleted and created again.
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

KEY = f"{ATTRIBUTE}:key"  # attributes of a trained network: the fields of record.Key

# By trial number of a search: the key of the architecture, and its predicted energy in mJ.
Origins: TypeAlias = dict[int, tuple[str, float]]


def identity(settings: Settings, name: str) -> dict[str, Any]:
    """What the trained networks of the search `name` have in common, with the search in words."""
    return {
        "search": name,
        "task": asdict(settings.task),
        "convention": settings.convention.label,
        "space": settings.space.to_dict(),
    }


def identities_differ(there: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first part in which two identities differ, ignoring the searches' names; None if they agree."""
    return next((part for part in ours if there.get(part) != ours[part] and part != "search"), None)


def find_trained(search: Search) -> str | None:
    """The name of the study that holds the trained networks of a search, or None.

    ValueError if several studies do, or if the search of a study's networks is ambiguous.
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
    """Whether a study holds networks that were trained from a search, judged only by trials."""
    storage, name = search.study._storage, search.study.study_name
    studies = _by_name(storage)
    origins = _origins(storage, studies[holder])
    return bool(origins) and _has(storage, studies[name], origins)


def owner_of(storage: BaseStorage, holder: str) -> str | None:
    """The search whose trained networks the study `holder` holds; None if there are none, or if it is ambiguous."""
    studies = _by_name(storage)
    owners = _owners(storage, studies, holder) if TRAINED in studies[holder].user_attrs else []
    return owners[0] if len(owners) == 1 else None


def _by_name(storage: BaseStorage) -> dict[str, FrozenStudy]:
    return {study.study_name: study for study in sorted(storage.get_all_studies(), key=lambda one: one.study_name)}


def _owners(storage: BaseStorage, studies: dict[str, FrozenStudy], holder: str) -> list[str]:
    """The search whose networks `holder` holds; several if it is ambiguous, none if it no longer exists."""
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
    """The trials that the networks of a study, trained or in training, come from."""
    trials = storage.get_all_trials(holder._study_id, deepcopy=False)
    return {
        trial.user_attrs["search_trial"]: (trial.system_attrs[KEY]["architecture"], trial.user_attrs["predicted_mj"])
        for trial in trials
        if KEY in trial.system_attrs and {"search_trial", "predicted_mj"} <= trial.user_attrs.keys()
    }


def _is_alike(study: FrozenStudy, there: dict[str, Any]) -> bool:
    """Whether a study is a search with the task, convention and space of an identity."""
    with contextlib.suppress(KeyError, ValueError):  # made by another program, or another version of this one
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
