"""Which networks a command is about: members of a study, or a network by name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna.cli import options
from autost_optuna.cli.picks import picked
from autost_optuna.front.candidate import MEASURED

if TYPE_CHECKING:
    from autost_optuna.search.search import Search


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What --network, --task, --trial, --knee, --front and --exact select; `most` is 1 where a command takes one network.

    Then `exact` is the number of a member of the exact front, else how many are selected.
    """

    network: str | None
    task: str | None
    trials: tuple[int, ...] = ()
    knee: bool = False
    front: int | None = None
    exact: int | None = None
    most: int | None = None


def selected(
    study: str | None, choice: Selection, storage: str, *, data: str | None = None, data_root: Path | None = None
) -> "tuple[Search, list[Any], dict[str, str]]":
    """The study, the candidates that are selected, and what those of no trial are called, by the keys of architectures.

    Without a study, the network has one of its own, which is made if it is missing.
    """
    from autost_optuna.network.task import Task
    from autost_optuna.search.catalogue import find_architecture
    from autost_optuna.search.single import candidates_of, name_of_network, study_of, task_of_network
    from autost_optuna.search.study import open_search

    members = choice.trials or choice.knee or choice.front is not None or choice.exact is not None
    if study is None and (choice.network is None or members):
        raise click.UsageError("Give STUDY, or --network NAME alone.")
    if study is not None and choice.task is not None:
        raise click.UsageError("Leave out --task: STUDY has one.")
    if choice.network is None:
        search = open_search(str(study), storage, write=choice.most is None)
        return search, *chosen(search, choice, data_root)
    if members and choice.most is not None:
        raise click.UsageError("Give --network, or --trial N, --knee or --exact N, not both.")
    architecture = find_architecture(choice.network, storage)[0]
    called = name_of_network(choice.network, architecture)
    if study is not None:
        search = open_search(study, storage, write=choice.most is None)
        trials, names = chosen(search, choice, data_root) if members else ([], {})
        if architecture not in {candidate.architecture for candidate in trials}:
            trials += candidates_of(search, [architecture], data_root=data_root)
        return search, trials, {**names, architecture.key: called}
    task = Task.load(choice.task) if choice.task else task_of_network(choice.network)
    on = options.chosen_data(data, data_root, task)
    search, candidate = study_of(f"{called}-{task.name}", architecture, storage, task, on, data_root)
    return search, [candidate], {architecture.key: called}


def chosen(search: "Search", choice: Selection, data_root: Path | None) -> tuple[list[Any], dict[str, str]]:
    """The candidates that --trial, --knee, --front and --exact select, and what those of no trial are called."""
    from autost_optuna.front.picks import knee as knee_of
    from autost_optuna.search.catalogue import exact_member, known_exact
    from autost_optuna.search.single import candidates_of

    found = [search.candidate(number) for number in choice.trials]
    if choice.knee:
        found.append(knee_of(search.front()))
    if choice.front is not None:
        found += picked(search.front(), search.settings.box, choice.front)
    names: dict[str, str] = {}
    if choice.exact is not None:
        every = known_exact(search).members
        names = {member.architecture.key: f"exact-{place}" for place, member in enumerate(every, 1)}
        if choice.most:
            some = [exact_member(search, choice.exact)]
        else:
            some = [member.architecture for member in picked(every, search.settings.box, choice.exact)]
        found += candidates_of(search, some, data_root=data_root)
    if not found or (choice.most is not None and len(found) > choice.most):
        options_of = "--trial N, --knee or --exact N" if choice.most else "--trial N, --knee, --front K or --exact K"
        raise click.UsageError(f"Give {options_of}" + (", not more." if found else "."))
    distinct = list({one.number: one for one in found if one.number is not None}.values())
    trials = {one.architecture for one in distinct}
    distinct += [one for one in found if one.number is None and one.architecture not in trials]
    tabled = [one.architecture for one in distinct if one.rates != MEASURED]
    measured = dict(zip(tabled, candidates_of(search, tabled, data_root=data_root) if tabled else (), strict=True))
    return [replace(measured.get(one.architecture, one), number=one.number) for one in distinct], names
