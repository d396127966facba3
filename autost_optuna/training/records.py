"""Open the trained networks of a search: its second study, `<name>.trained`, one trial per network."""

from pathlib import Path

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import NSGAIISampler

from autost_optuna import units
from autost_optuna.search.enrol import name_metrics
from autost_optuna.search.ownership import find_trained, identities_differ, identity, is_of, owner_of
from autost_optuna.search.search import Search
from autost_optuna.search.study import TRAINED, TRAINED_ENDING, TRAINED_METRICS, load_study
from autost_optuna.storage.artifacts import artifacts_of, copy, folder_of
from autost_optuna.storage.location import shown
from autost_optuna.storage.transfer import Copied, copy_study
from autost_optuna.training.claims import Records
from autost_optuna.training.record import Dropped, Record
from autost_optuna.units import StrPath


def open_trained(search: Search, *, create: bool = False, artifacts: StrPath | None = None) -> Records:
    """The trained networks of a search. With `create`, a missing study is created, even by several processes at once.

    The study is found even if one of the two was renamed. `artifacts` is the folder of learning curves; by default it is
    beside the storage's file. ValueError if there is no study, if the one with that name belongs to another program or
    search, or if it is ambiguous whose networks it holds.
    """
    named, storage = search.study.study_name + TRAINED_ENDING, search.study._storage
    name = find_trained(search) or (named if create else None)
    if name is None:
        command = units.command("train", search.study.study_name, "--knee")
        raise ValueError(f"study {search.study.study_name} has no trained networks yet; {command} makes one")
    study = (
        _make(name, search) if create else optuna.load_study(study_name=name, storage=storage, sampler=NSGAIISampler())
    )
    there, ours = study.user_attrs.get(TRAINED), identity(search.settings, search.study.study_name)
    if there is None and (study.get_trials(deepcopy=False) or not create) and not is_of(search, name):
        raise ValueError(
            f"study {name!r} in {shown(search.storage)} was not made by autost-optuna, or not to the end; delete it, "
            "or give the search another name"
        )
    if create and there is not None and find_trained(search) != name:  # the study of another search that had this name
        owner = owner_of(storage, name) or "another search"
        raise ValueError(f"study {name} holds networks of {owner}; rename it, or give this search another name")
    if there is not None and (part := identities_differ(there, ours)):
        raise ValueError(
            f"study {name} holds networks of a search with another {part} than {search.study.study_name} has now; "
            f"delete it by {units.command('study', 'delete', name)}, or search under another name"
        )
    if create and there != ours:  # new, left by a killed process, or renamed: other processes write the same
        name_metrics(study, TRAINED_METRICS)
        study.set_user_attr(TRAINED, ours)
    return Records(study=study, search=search, artifacts=Path(artifacts) if artifacts else folder_of(search.storage))


def trainings_of(search: Search) -> list[Record]:
    """The trained networks of a search, if any. ValueError if they belong to another search."""
    if find_trained(search) is None:
        return []
    return open_trained(search).all()


def dropped_of(search: Search) -> list[Dropped]:
    """The networks of a search that dropped out of a halving, if any."""
    if find_trained(search) is None:
        return []
    return open_trained(search).dropped()


def copy_trained(study: optuna.Study, storage: str, to: str, *, name: str | None = None) -> tuple[Copied, int]:
    """Copy trained networks to the storage `to`, as `name` if given, with their artifacts if both storages are files.

    Also returns the number of artifacts that were not copied. ValueError if the name does not have the form NAME.trained.
    """
    name = name or study.study_name
    if not name.removesuffix(TRAINED_ENDING) or not name.endswith(TRAINED_ENDING):
        raise ValueError(
            f"trained networks cannot be called {name!r}; name them after their search: NAME{TRAINED_ENDING}"
        )
    made = copy_study(study, to, name=name)
    if name != study.study_name:
        named = {**study.user_attrs[TRAINED], "search": name.removesuffix(TRAINED_ENDING)}
        load_study(name, to, write=True).set_user_attr(TRAINED, named)
    return made, copy(artifacts_of(study), folder_of(storage), folder_of(to))


def _make(name: str, search: Search) -> optuna.Study:
    """A new study of trained networks, or the existing one."""
    storage = search.study._storage
    try:
        return optuna.create_study(
            study_name=name, storage=storage, sampler=NSGAIISampler(), directions=["maximize", "minimize"]
        )
    except DuplicatedStudyError:
        return optuna.load_study(study_name=name, storage=storage, sampler=NSGAIISampler())
