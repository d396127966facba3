"""The contents of a storage: its studies, and the architecture that a text names."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import optuna

from autost_optuna import units
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.families import FAMILIES, is_network, published
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES, GOALS
from autost_optuna.search.exact import ExactFront
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE, Settings
from autost_optuna.search.study import TRAINED, TRAINED_METRICS, foreign, has_candidates, load_study, open_search
from autost_optuna.storage.artifacts import artifacts_of, folder_of, remove
from autost_optuna.storage.storage import open_storage
from autost_optuna.units import StrPath

MEMBER = ":exact"  # behind a study's name
_TRIAL = ("trial", "STUDY:TRIAL", "demo:17")


def find_architecture(source: StrPath, storage: str) -> tuple[Architecture, Search | None]:
    """The architecture `source`, and its study if it is a trial.

    The name of a published network, FILE.json, FILE.yaml (AutoST's form), STUDY:TRIAL, STUDY:exact:N for member N of the
    exact front, or "C=384,depth=4,heads=8,ratio=4". A member of an exact front comes with its study too.
    """
    source = os.fspath(source)
    if is_network(source):
        return published(source).architecture, None
    if source.endswith((".json", ".yaml", ".yml")):
        return Architecture.load(Path(source)), None
    name, colon, number = source.rpartition(":")
    if colon:
        if not number.isdecimal():
            what, form, such = ("member", "STUDY:exact:N", "demo:exact:17") if name.endswith(MEMBER) else _TRIAL
            raise ValueError(f"{what} {number!r} in {source!r} is not a number; write {form}, such as {such}")
        search = open_search(name.removesuffix(MEMBER), storage)
        if name.endswith(MEMBER):
            return exact_member(search, int(number)), search
        return search.candidate(int(number)).architecture, search
    if "=" not in source:
        raise ValueError(
            f"architecture {source!r} is none of FILE.json, FILE.yaml, STUDY:TRIAL, STUDY:exact:N, "
            f'"C=384,depth=4,heads=8,ratio=4" and the networks of {", ".join(FAMILIES)}'
        )
    return Architecture.from_text(source), None


def known_exact(search: Search) -> ExactFront:
    """The exact front of a study. ValueError if it was not measured."""
    front, name = search.exact(), search.study.study_name
    if front is None:
        raise ValueError(f"study {name} has no exact front; {units.command('study', 'exact', name)} measures it")
    return front


def exact_member(search: Search, number: int) -> Architecture:
    """Member `number` of the exact front of a study, counted from 1. ValueError if there is none."""
    front, name = known_exact(search), search.study.study_name
    if not 1 <= number <= len(front.members):
        raise ValueError(f"the exact front of {name} has no member {number}; choose 1 to {len(front.members)}")
    return front.members[number - 1].architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A line of `study list`; fields are None if another program, or another version of this one, made the study."""

    name: str
    trials: int
    space: str | None = None
    task: str | None = None
    data: str | None = None
    convention: str | None = None


def list_searches(storage: str) -> list[Listed]:
    """All studies of a storage, by name."""
    rows = []
    for summary in optuna.get_all_study_summaries(open_storage(storage)):
        row = Listed(name=summary.study_name, trials=summary.n_trials)
        trained = summary.user_attrs.get(TRAINED)
        if trained is not None:
            row = Listed(
                name=summary.study_name,
                trials=summary.n_trials,
                space=f"trained networks of {trained['search']}",
                task=trained["task"]["name"],
                convention=trained["convention"],
            )
        with contextlib.suppress(KeyError, ValueError):  # made by another program, or another version of this one
            settings = Settings.from_dict(summary.user_attrs[ATTRIBUTE])
            row = Listed(
                name=summary.study_name,
                trials=summary.n_trials,
                space=settings.space.name + (" uniform" if settings.space.uniform else ""),
                task=settings.task.name,
                data=settings.data,
                convention=settings.convention.label,
            )
        rows.append(row)
    return sorted(rows, key=lambda row: row.name)


def delete(name: str, storage: str) -> int:
    """Delete a study with its trials and artifacts, and return its number of trials. ValueError if it does not exist.

    A study of another program is deleted only if it is empty, like one whose creation was interrupted, or has candidates,
    like one of 0.1.0's Objective. An interrupted copy is known by the names of our metrics. Networks trained from a search
    stay, in their own study.
    """
    study = load_study(name, storage, write=True)
    trials, ours = study.get_trials(deepcopy=False), {ATTRIBUTE, TRAINED} & study.user_attrs.keys()
    labels, metrics = {goal.label for goal in GOALS.values()}, study.metric_names or ["none"]
    searched = {GOALS[name].label for name in DEFAULT_OBJECTIVES} <= set(metrics) <= labels
    if trials and not ours and metrics != list(TRAINED_METRICS) and not searched and not has_candidates(trials):
        raise foreign(study, storage)
    artifacts = set(artifacts_of(study))
    optuna.delete_study(study_name=name, storage=study._storage)
    if artifacts:
        for other in optuna.get_all_study_names(
            study._storage
        ):  # another study in this storage, a copy, shares its files
            artifacts -= set(artifacts_of(load_study(other, storage)))
        remove(artifacts, folder_of(storage))
    return len(trials)
