"""Which networks a command is about: members of a study, or a network by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna.cli import options
from autost_optuna.cli.front import picked

if TYPE_CHECKING:
    from autost_optuna.search.search import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What --network, --task, --trial, --knee and --front select; `most` is 1 where a command takes one network."""

    network: str | None
    task: str | None
    trials: tuple[int, ...] = ()
    knee: bool = False
    front: int | None = None
    most: int | None = None


def selected(
    study: str | None, choice: Selection, storage: str, *, data: str | None = None, data_root: Path | None = None
) -> "tuple[Search, list[Any], str]":
    """The study, the candidates that are selected, and what the network of --network is called.

    Without a study, the network has one of its own, which is made if it is missing.
    """
    from autost_optuna.network.task import Task
    from autost_optuna.search.catalogue import find_architecture
    from autost_optuna.search.single import candidate_of, name_of_network, study_of, task_of_network
    from autost_optuna.search.study import open_search

    members = choice.trials or choice.knee or choice.front is not None
    if study is None and (choice.network is None or members):
        raise click.UsageError("Give STUDY, or --network NAME alone.")
    if study is not None and choice.task is not None:
        raise click.UsageError("Leave out --task: STUDY has one.")
    if choice.network is None:
        search = open_search(str(study), storage, write=choice.most is None)
        return search, chosen(search, choice), ""
    if members and choice.most is not None:
        raise click.UsageError("Give --network, or --trial N or --knee, not both.")
    architecture = find_architecture(choice.network, storage)[0]
    called = name_of_network(choice.network, architecture)
    if study is not None:
        search = open_search(study, storage, write=choice.most is None)
        trials = chosen(search, choice) if members else []
        if architecture not in {candidate.architecture for candidate in trials}:
            trials.append(candidate_of(search, architecture, data_root=data_root))
        return search, trials, called
    task = Task.load(choice.task) if choice.task else task_of_network(choice.network)
    on = options.chosen_data(data, data_root, task)
    search, candidate = study_of(f"{called}-{task.name}", architecture, storage, task, on, data_root)
    return search, [candidate], called


def chosen(search: "Search", choice: Selection) -> list[Any]:
    """The candidates that --trial, --knee and --front select."""
    from autost_optuna.front.picks import knee as knee_of

    found = [search.candidate(number) for number in choice.trials]
    if choice.knee:
        found.append(knee_of(search.front()))
    if choice.front is not None:
        found += picked(search.front(), search.settings.box, choice.front)
    if not found or (choice.most is not None and len(found) > choice.most):
        options_of = "--trial N or --knee" if choice.most else "--trial N, --knee or --front K"
        raise click.UsageError(f"Give {options_of}" + (", not both." if found else "."))
    return list({candidate.number: candidate for candidate in found}.values())
