"""One network, named or written down, as a study of its own, or judged as a search judges its candidates."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from optuna.trial import TrialState

from autost_optuna import units
from autost_optuna.front.candidate import MEASURED, Candidate
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.families import is_network, published
from autost_optuna.network.task import Task
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import run
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, existing_names, open_search
from autost_optuna.space.single import space_around, values_of
from autost_optuna.units import StrPath


def name_of_network(source: str, architecture: Architecture) -> str:
    """A short name for a network: a published one's, or one with a part of its key's hash, and that of its file."""
    if is_network(source):
        return source.lower()
    stem = Path(source).stem if source.endswith((".json", ".yaml", ".yml")) else "network"
    return f"{stem}-{hashlib.sha256(architecture.key.encode()).hexdigest()[:8]}"


def task_of_network(source: str) -> Task:
    """The task that a published network is built for, else cifar10."""
    return Task.preset(published(source).task if is_network(source) else "cifar10")


def study_of(
    name: str, architecture: Architecture, storage: StrPath, task: Task, data: str, data_root: StrPath | None = None
) -> tuple[Search, Candidate]:
    """The study `name` of one network, made on `data` if it is missing, and its candidate, measured if it has not been.

    A study that exists keeps the images that it was made on. ValueError if it is of another network or task, or the network
    could not be measured.
    """
    plan = Plan(space_around(architecture, name), task, data=data, data_root=data_root)
    if name in existing_names(os.fspath(storage)):
        search = open_search(name, storage, write=True)
        remedy = f"remove it by {units.command('study', 'delete', name)}, or use another --storage"
        search.settings.check_same({"space": plan.space, "task": task}, remedy=f"study {name}: {remedy}")
    else:
        search = create(name, storage, plan, skip_if_exists=True)
    if found := _candidate(search, architecture):
        return search, found
    if not search.study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        search.study.enqueue_trial(values_of(plan.space, architecture))
    run(search, trials=1)
    if found := _candidate(search, architecture):
        return search, found
    said = [trial.user_attrs.get("silent", "its trial failed") for trial in search.study.get_trials(deepcopy=False)]
    raise ValueError(f"{name}: {architecture.to_text()} could not be measured: {said[-1]}")


def candidates_of(
    search: Search, architectures: Iterable[Architecture], *, data_root: StrPath | None = None
) -> list[Candidate]:
    """The measured candidates of architectures in a search: those of their trials, or else measured here, with their numbers.

    ValueError if one is silent.
    """
    known = {one.architecture: one for one in reversed(search.candidates())}
    objective, found = None, []
    for architecture in architectures:
        candidate = known.get(architecture)
        if candidate is None or candidate.rates != MEASURED:
            objective = objective or make_objective(search.settings, data_root)
            number = None if candidate is None else candidate.number
            candidate = replace(objective.measure(architecture), number=number)
        if candidate.silent:
            raise ValueError(f"{architecture.to_text()} is silent on the study's images, so its energy means nothing")
        found.append(candidate)
    return found


def _candidate(search: Search, architecture: Architecture) -> Candidate | None:
    """The candidate of the trial with an architecture, if there is one."""
    return next((one for one in search.candidates() if one.architecture == architecture), None)
