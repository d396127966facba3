"""Create and open studies: Optuna's, with the settings that make their candidates comparable."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from autost_optuna import units
from autost_optuna.front.constraints import Constraints
from autost_optuna.moved import regrouped
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.proxies.goals import GOALS, check_objectives, check_plane
from autost_optuna.proxies.tabulate import check_tabulable
from autost_optuna.search.enrol import CANDIDATE, name_objectives
from autost_optuna.search.exact import ExactFront, Member, check_feasible, exact_front, is_enumerable
from autost_optuna.search.optimum import check_bounds
from autost_optuna.search.outlay import check_sums
from autost_optuna.search.restore import make_objective, make_sampler, objective_of
from autost_optuna.search.search import EXACT, Search
from autost_optuna.search.settings import ATTRIBUTE, Plan, Settings, check_population
from autost_optuna.search.tabled import tabled_front
from autost_optuna.search.tables import Tabled, store_table, stored_table
from autost_optuna.space.single import values_of
from autost_optuna.storage.location import check_file, file_of, shown
from autost_optuna.storage.storage import open_storage
from autost_optuna.units import StrPath

TRAINED, TRAINED_ENDING = f"{ATTRIBUTE}:trained", ".trained"  # attribute and name of a search's second study
TRAINED_METRICS = ("validation accuracy", "measured energy (mJ)")  # as optuna-dashboard shows them
CREATION_S = 2.0  # the writes that create a study take milliseconds


class StudyExists(ValueError):  # noqa: N818 - a state, not an error
    """A study with that name exists."""


@regrouped(plan=Plan)
def create(
    name: str,
    storage: StrPath,
    plan: Plan,
    *,
    skip_if_exists: bool = False,
    device: str = "cpu",
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Search:
    """Create a study, by default with two objectives, FLOPs (maximise) and energy_mj (minimise); all is checked first.

    ValueError if the space does not fit the task, nothing in it satisfies the constraints, the images are missing, silent or
    have another number of classes, the storage is not writable, or the study exists (unless `skip_if_exists` and it has these
    settings; the convention is compared if the plan has one), or a table of rates would be too large. `on_done(done, total)`
    is called while such a table is measured.
    """
    check_name(name)
    storage, constraints = os.fspath(storage), plan.constraints or Constraints()
    check_population(plan.population)
    check_objectives(plan.objectives)

    def existing() -> Search:
        search = open_search(name, storage)
        search.settings.check_convention(plan.convention)
        same = ("space", "task", "data", "images", "seeds", "seed", "population", "rates")
        asked = {field: getattr(plan, field) for field in same}
        bounds = constraints.on(search.settings.convention)
        search.settings.check_same({**asked, "constraints": bounds, "objectives": tuple(plan.objectives)})
        return search

    if name in existing_names(storage):
        if skip_if_exists:
            return existing()
        raise named_twice(name, storage)
    check_file(storage, create=True, write=True)
    plan.space.check(plan.task)
    check_feasible(plan.space, plan.task, constraints.on(plan.convention or DEFAULT))
    objective = objective_of(plan, device)
    settings = objective.settings(plan.population)
    most, box = constraints.max_energy_mj, settings.box
    if most is not None and most < 0.9 * box.best_energy_mj:  # the smallest network uses about the least energy
        raise ValueError(
            f"max_energy {most} mJ cannot be kept: the smallest network of the space {plan.space.name} takes "
            f"{box.best_energy_mj:.4g} mJ; raise it"
        )
    tabled = objective.table(on_done) if objective.by_table else None
    try:
        return make_study(name, storage, settings, tabled)
    except StudyExists:  # another process was faster
        if skip_if_exists:
            return existing()
        raise


def check_name(name: str) -> None:
    """ValueError if `name` cannot be the name of a study."""
    if not name.strip() or not name.isprintable():
        raise ValueError(f"study name {name!r} is empty or has unprintable characters; choose a readable one")
    if name.startswith("-"):
        raise ValueError(f"study name {name!r} would be read as an option; choose one that begins otherwise")
    if name.endswith(TRAINED_ENDING):
        raise ValueError(
            f"study name {name!r} ends as those of trained networks do; choose one without {TRAINED_ENDING}"
        )


def make_study(name: str, storage: str, settings: Settings, tabled: Tabled | None = None) -> Search:
    """A new study with its settings and its table of rates in the storage, or nothing. StudyExists if the name is taken."""
    backend = open_storage(storage, create=True, write=True)
    try:
        study = optuna.create_study(
            study_name=name,
            storage=backend,
            sampler=make_sampler(settings),
            directions=[GOALS[name].direction for name in settings.objectives],
        )
    except DuplicatedStudyError:
        raise named_twice(name, storage) from None
    try:
        name_objectives(study, settings.objectives)
        if tabled is not None:
            store_table(study, settings.space, tabled)
        study.set_user_attr(ATTRIBUTE, settings.to_dict())
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to report
            optuna.delete_study(study_name=name, storage=backend)
        raise
    return Search(study=study, settings=settings, storage=storage)


def open_search(name: str, storage: StrPath, *, write: bool = False) -> Search:
    """Open a study, to `write` or only to read. ValueError if it does not exist or this program did not make it."""
    storage = os.fspath(storage)
    study = load_study(name, storage, write=write)
    if TRAINED in study.user_attrs:
        named, there = name.removesuffix(TRAINED_ENDING), optuna.get_all_study_names(study._storage)
        of = named if named != name and named in there else study.user_attrs[TRAINED]["search"]
        shows = units.command("study", "show", of)
        raise ValueError(f"study {name!r} holds trained networks and is no search; {shows} shows them")
    settings = Settings.from_dict(_stored_settings(study, storage))
    study.sampler = make_sampler(settings)
    return Search(study=study, settings=settings, storage=storage)


def load_study(name: str, storage: str, *, write: bool = False) -> optuna.Study:
    """Optuna's study of that name, made by any program. ValueError, with the existing names, if there is none."""
    backend = open_storage(storage, write=write)
    try:
        return optuna.load_study(study_name=name, storage=backend, sampler=NSGAIISampler())
    except KeyError:
        names = sorted(optuna.get_all_study_names(backend))
        there = f"it has {', '.join(names[:8])}" if names else "it has none"
        raise ValueError(f"no study {name!r} in {shown(storage)} ({there}); create it or check --storage") from None


def _stored_settings(study: optuna.Study, storage: str) -> dict[str, Any]:
    """The settings in a study. Another process may be creating an empty study, so it waits for the settings."""
    deadline = time.monotonic() + CREATION_S
    while True:
        stored: dict[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
        if stored is not None:
            return stored
        if study.get_trials(deepcopy=False) or time.monotonic() >= deadline:
            raise foreign(study, storage)
        time.sleep(0.05)


def find_exact(
    search: Search,
    *,
    data_root: StrPath | None = None,
    device: str = "cpu",
    measure: int | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ExactFront:
    """The exact front of the study's space, measured once and stored with the study.

    A space with too many classes has a front under a table of rates, of which at most `measure` members are measured.
    ValueError if even a table would be too large.
    """
    found = search.exact()
    if found is None:
        check_plane(search.settings.objectives, "an exact front", "create a study of these two for it")
        space, box, seed = search.settings.space, search.settings.box, search.settings.seed
        enumerable = is_enumerable(space)
        if not enumerable:
            check_tabulable(space)
            check_sums(search.settings.convention)
            check_bounds(search.settings.constraints)
        objective = make_objective(search.settings, data_root, device)
        if enumerable:
            found = exact_front(objective, box, seed=seed, on_done=on_done)
        else:
            objective.tabled = stored_table(search.study, space, search.settings.task)
            if objective.tabled is None:
                store_table(search.study, space, objective.table(on_done))
            found = tabled_front(objective, box, most=measure, on_done=on_done)
        search.study.set_user_attr(EXACT, found.to_dict())
    return found


def queue_members(search: Search, members: Sequence[Member]) -> int:
    """Queue members of an exact front as the first trials of the next run, and return how many were none yet."""
    waiting = (TrialState.WAITING, TrialState.RUNNING)
    known = {candidate.architecture for candidate in search.evaluated()}
    asked = [
        trial.system_attrs.get("fixed_params") for trial in search.study.get_trials(deepcopy=False, states=waiting)
    ]
    new = [values_of(search.settings.space, one.architecture) for one in members if one.architecture not in known]
    queued = [values for values in new if values not in asked]
    for values in queued:
        search.study.enqueue_trial(values)
    return len(queued)


def existing_names(storage: str) -> list[str]:
    """Names of the studies in a storage; none if it does not exist yet."""
    path = file_of(storage)
    if path is not None and not path.exists():
        return []
    return sorted(optuna.get_all_study_names(open_storage(storage)))


def foreign(study: optuna.Study, storage: str) -> ValueError:
    """The error for a study without settings, with the remedy."""
    where = f"study {study.study_name!r} in {shown(storage)}"
    if has_candidates(study.get_trials(deepcopy=False)):
        return ValueError(
            f"{where} has trials of Objective, but no settings; {units.command('study', 'adopt', study.study_name)} with the "
            "space and task of the objective (--space, --task) gives it some. If it is a copy that was cut off, delete it and "
            "copy again"
        )
    return ValueError(
        f"{where} was not made by autost-optuna, or not to the end; create one of another name, or, if it is empty, delete it "
        "and create it again"
    )


def has_candidates(trials: Sequence[FrozenTrial]) -> bool:
    """Whether `Objective` evaluated any of the trials."""
    return any(CANDIDATE in trial.user_attrs for trial in trials)


def named_twice(name: str, storage: str, *, skips: bool = True) -> StudyExists:
    """The error for a name that is taken; `skips` if the command has --skip-if-exists."""
    skip = "pass --skip-if-exists, " if skips else ""
    return StudyExists(f"study {name!r} exists in {shown(storage)}; choose another name, {skip}or delete it first")
