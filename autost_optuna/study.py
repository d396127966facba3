"""Studies: create, open, list, delete. A study is Optuna's, with the settings that make its candidates comparable."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from autost_optuna import notebook, units
from autost_optuna.architecture import Architecture
from autost_optuna.artifacts import artifacts_of, folder_of, remove
from autost_optuna.candidate import Candidate
from autost_optuna.constraints import Constraints
from autost_optuna.convergence import Course
from autost_optuna.data import check_classes, rate_images
from autost_optuna.enrol import CANDIDATE, name_objectives
from autost_optuna.exact import ExactFront, check_enumerable, check_feasible, exact_front
from autost_optuna.front import hypervolume, knee, nondominated, pick
from autost_optuna.goals import DEFAULT_OBJECTIVES, GOALS, check_objectives, check_plane
from autost_optuna.health import Health, correlations, health
from autost_optuna.location import check_file, file_of, shown
from autost_optuna.objective import Objective
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.restore import make_objective, make_sampler
from autost_optuna.settings import ATTRIBUTE, POPULATION, Settings, check_population
from autost_optuna.space import OUTSIDE, Space
from autost_optuna.storage import open_storage
from autost_optuna.task import Task
from autost_optuna.units import StrPath

TRAINED, TRAINED_ENDING = f"{ATTRIBUTE}:trained", ".trained"  # attribute and name of a search's second study
TRAINED_METRICS = ("validation accuracy", "measured energy (mJ)")  # as optuna-dashboard shows them
CREATION_S = 2.0  # between the writes that make a study lie milliseconds
EXACT = f"{ATTRIBUTE}:exact"
SHOWN = 10  # members of a front in a notebook


class StudyExists(ValueError):  # noqa: N818 - what is told is what is there
    """There is a study of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """An Optuna study with its settings, and where it is kept: a file or URL, in which there may be a password."""

    study: optuna.Study
    settings: Settings
    storage: str = field(repr=False)

    def candidates(self) -> list[Candidate]:
        """The candidates of all complete trials, in the order of their trials.

        Silent networks are left out, and so are architectures outside the space: 0.1.0 measured them if they were enqueued.
        """
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = (
            Candidate.from_dict(trial.user_attrs[CANDIDATE], number=trial.number)
            for trial in trials
            if CANDIDATE in trial.user_attrs
        )
        return [candidate for candidate in found if candidate.architecture in self.settings.space]

    def candidate(self, number: int) -> Candidate:
        """The candidate of trial `number`."""
        for candidate in self.candidates():
            if candidate.number == number:
                return candidate
        members = len(self.front())  # no trial at all is another error
        listed = units.command("study", "front", self.study.study_name)
        raise ValueError(
            f"study {self.study.study_name} has no complete trial {number}; {listed} lists the {members} of its front"
        )

    def course(self) -> Course:
        """The hypervolume after each finished trial."""
        found = {candidate.number: candidate for candidate in self.candidates()}
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return Course(self.settings.box, (found.get(trial.number) for trial in finished))

    def exact(self) -> ExactFront | None:
        """The exact front where `find_exact` has stored it."""
        stored = self.study.user_attrs.get(EXACT)
        return None if stored is None else ExactFront.from_dict(stored)

    def _repr_html_(self) -> str:
        """In a notebook: the settings, and of the front at most as many members as are read at a glance."""
        settings, members = self.settings, nondominated(self.candidates())
        chosen = knee(members) if members else None
        picked = pick(members, settings.box, SHOWN) if members else []
        few = [member for member in members if member in picked or member is chosen]
        rates = f"{units.images(settings.images, settings.seeds)} of {settings.data}"
        about = (
            f"space {settings.space.name}, task {settings.task.name}, {settings.convention.label}, rates at initialisation "
            f"on {rates}, {units.seeds(settings.seed, settings.seeds)}"
        )
        rows = [
            [
                f"{'* ' if member is chosen else ''}{member.number}",
                member.architecture.to_text(),
                units.significant(member.params / 1e6),
                units.significant(member.flops / 1e9),
                units.significant(member.energy_mj, 4),
            ]
            for member in few
        ]
        columns = ["trial", "architecture", "M parameters", "GFLOPs", "mJ an image"]
        said = f"{len(few)} of the {units.counted(len(members), 'member')} of the front, * its knee"
        front = notebook.table(columns, rows, left=["architecture"]) + notebook.remark(said)
        return notebook.titled(
            f"study {self.study.study_name}",
            notebook.remark(about),
            front if members else notebook.remark("no complete trial yet"),
        )

    def front(self) -> list[Candidate]:
        """The members of the front, by ascending energy. ValueError where no trial is complete."""
        members = nondominated(self.candidates())
        if not members:
            name, trials = self.study.study_name, self.study.get_trials(deepcopy=False)
            infeasible = sum("infeasible" in trial.user_attrs for trial in trials)
            if infeasible:
                raise ValueError(
                    f"study {name} has no front: {infeasible:,} trials are outside its constraints "
                    f"({self.settings.constraints}); create one with wider bounds, or run more trials"
                )
            todo = units.command("study", "run", name, "--trials", "100")
            raise ValueError(f"study {name} has no complete trial yet; run {todo}{self._exact_hint()}")
        return members

    def _exact_hint(self) -> str:
        """What can be done with the exact front, if it is known, as long as there is no trial to draw, train or export."""
        exact, name = self.exact(), self.study.study_name
        if exact is None:
            return ""
        lists, measures = units.command("study", "exact", name), units.command("study", "baseline", name)
        members = units.counted(len(exact.members), "member")
        return f"; {lists} prints the {members} of its exact front, and {measures} ARCHITECTURE takes one beside the search"


def create(
    name: str,
    storage: StrPath,
    *,
    space: Space,
    task: Task,
    data: str = "digits",
    data_root: StrPath | None = None,
    images: int = 4,
    seeds: int = 1,
    convention: Convention | None = None,
    constraints: Constraints | None = None,
    seed: int = 0,
    population: int = POPULATION,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    skip_if_exists: bool = False,
    device: str = "cpu",
) -> Search:
    """Create a study of two objectives, FLOPs (maximise) and energy_mj (minimise); everything is checked before.

    `objectives` names these two and further proxies (`goals.GOALS`), each in its own direction. ValueError if the space does
    not fit the task, nothing in it keeps the constraints, the images are missing, silent or of another number of classes,
    the storage cannot be written, or the study exists (unless `skip_if_exists` and it has these settings; the convention
    is compared if one is given).
    """
    check_name(name)
    storage = os.fspath(storage)
    check_population(population)
    check_objectives(objectives)
    constraints, objectives = constraints or Constraints(), tuple(objectives)
    asked = {"space": space, "task": task, "data": data, "images": images, "seeds": seeds, "constraints": constraints}

    def existing() -> Search:
        search = open_search(name, storage)
        search.settings.check_convention(convention)
        search.settings.check_same({**asked, "seed": seed, "population": population, "objectives": objectives})
        return search

    if name in existing_names(storage):
        if skip_if_exists:
            return existing()
        raise _exists(name, storage)
    check_file(storage, create=True, write=True)
    space.check(task)
    check_feasible(space, task, constraints)
    drawn = rate_images(task, data=data, root=data_root, count=images, seeds=seeds, seed=seed)
    check_classes(drawn, task)
    objective = Objective(
        space,
        task,
        images=drawn,
        data_root=data_root,
        convention=convention or DEFAULT,
        constraints=constraints,
        seed=seed,
        seeds=seeds,
        device=device,
        objectives=objectives,
    )
    settings = objective.settings(population)
    most, box = constraints.max_energy_mj, settings.box
    if most is not None and most < 0.9 * box.best_energy_mj:  # the smallest network is about the thriftiest
        raise ValueError(
            f"max_energy {most} mJ cannot be kept: the smallest network of the space {space.name} takes "
            f"{box.best_energy_mj:.4g} mJ; raise it"
        )
    try:
        return make_study(name, storage, settings)
    except StudyExists:  # by now: another process was faster
        if skip_if_exists:
            return existing()
        raise


def check_name(name: str) -> None:
    """ValueError where `name` cannot be a study's."""
    if not name.strip() or not name.isprintable():
        raise ValueError(f"study name {name!r} is empty or has unprintable characters; choose a readable one")
    if name.startswith("-"):
        raise ValueError(f"study name {name!r} would be read as an option; choose one that begins otherwise")
    if name.endswith(TRAINED_ENDING):
        raise ValueError(
            f"study name {name!r} ends as those of trained networks do; choose one without {TRAINED_ENDING}"
        )


def make_study(name: str, storage: str, settings: Settings) -> Search:
    """A new study with its settings in the storage, or neither. StudyExists where there is one of that name."""
    backend = open_storage(storage, create=True, write=True)
    try:
        study = optuna.create_study(
            study_name=name,
            storage=backend,
            sampler=make_sampler(settings),
            directions=[GOALS[name].direction for name in settings.objectives],
        )
    except DuplicatedStudyError:
        raise _exists(name, storage) from None
    try:
        name_objectives(study, settings.objectives)
        study.set_user_attr(ATTRIBUTE, settings.to_dict())
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong first is what is told
            optuna.delete_study(study_name=name, storage=backend)
        raise
    return Search(study=study, settings=settings, storage=storage)


def open_search(name: str, storage: StrPath, *, write: bool = False) -> Search:
    """Open a study, to `write` or only to read it. ValueError where it does not exist or is not of this program."""
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
    """Optuna's study of that name, whoever made it. ValueError where there is none, with the names that there are."""
    backend = open_storage(storage, write=write)
    try:
        return optuna.load_study(study_name=name, storage=backend, sampler=NSGAIISampler())
    except KeyError:
        names = sorted(optuna.get_all_study_names(backend))
        there = f"it has {', '.join(names[:8])}" if names else "it has none"
        raise ValueError(f"no study {name!r} in {shown(storage)} ({there}); create it or check --storage") from None


def _stored_settings(study: optuna.Study, storage: str) -> dict[str, Any]:
    """The settings in a study. An empty study may be one that another process creates: they are waited for."""
    deadline = time.monotonic() + CREATION_S
    while True:
        stored: dict[str, Any] | None = study.user_attrs.get(ATTRIBUTE)
        if stored is not None:
            return stored
        if study.get_trials(deepcopy=False) or time.monotonic() >= deadline:
            raise _foreign(study, storage)
        time.sleep(0.05)


def find_exact(
    search: Search,
    *,
    data_root: StrPath | None = None,
    device: str = "cpu",
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ExactFront:
    """The exact front of the study's space, measured once and stored with the study. ValueError where it is too large."""
    found = search.exact()
    if found is None:
        check_plane(search.settings.objectives, "an exact front", "create a study of these two for it")
        check_enumerable(search.settings.space)
        objective = make_objective(search.settings, data_root, device)
        found = exact_front(objective, search.settings.box, seed=search.settings.seed, on_done=on_done)
        search.study.set_user_attr(EXACT, found.to_dict())
    return found


def find_architecture(source: StrPath, storage: str) -> tuple[Architecture, Search | None]:
    """The architecture that `source` names, and its study if it is a trial.

    FILE.json, FILE.yaml (AutoST's form), STUDY:TRIAL, or "C=384,depth=4,heads=8,ratio=4".
    """
    source = os.fspath(source)
    if source.endswith((".json", ".yaml", ".yml")):
        return Architecture.load(Path(source)), None
    name, colon, number = source.rpartition(":")
    if colon:
        if not number.isdecimal():
            raise ValueError(f"trial {number!r} in {source!r} is not a number; write STUDY:TRIAL, such as demo:17")
        search = open_search(name, storage)
        return search.candidate(int(number)).architecture, search
    if "=" not in source:
        raise ValueError(
            f'architecture {source!r} is none of FILE.json, FILE.yaml, STUDY:TRIAL or "C=384,depth=4,heads=8,ratio=4"'
        )
    return Architecture.from_text(source), None


def existing_names(storage: str) -> list[str]:
    """Names of the studies in a storage, none where it does not exist yet."""
    path = file_of(storage)
    if path is not None and not path.exists():
        return []
    return sorted(optuna.get_all_study_names(open_storage(storage)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A line of `study list`; None where a study was not made by this program, or by another version of it."""

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
        with contextlib.suppress(KeyError, ValueError):  # of another program, or of another version of this one
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
    """Delete a study with its trials and artifacts, and return how many trials there were. ValueError where there is none.

    A study of another program is only deleted where it is empty, as one is whose creation was cut off, or has candidates, as
    one that Objective of 0.1.0 made. What a copy that was cut off leaves has the names of our metrics. The networks that
    were trained of a search stay, in a study of their own.
    """
    study = load_study(name, storage, write=True)
    trials, ours = study.get_trials(deepcopy=False), {ATTRIBUTE, TRAINED} & study.user_attrs.keys()
    labels, metrics = {goal.label for goal in GOALS.values()}, study.metric_names or ["none"]
    searched = {GOALS[name].label for name in DEFAULT_OBJECTIVES} <= set(metrics) <= labels
    if trials and not ours and metrics != list(TRAINED_METRICS) and not searched and not _has_candidates(trials):
        raise _foreign(study, storage)
    artifacts = set(artifacts_of(study))
    optuna.delete_study(study_name=name, storage=study._storage)
    if artifacts:
        for other in optuna.get_all_study_names(study._storage):  # a copy in this storage shares its files
            artifacts -= set(artifacts_of(load_study(other, storage)))
        remove(artifacts, folder_of(storage))
    return len(trials)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What `study show` says of a search.

    `outside` trials have values that the space does not offer, `correlations` are Spearman's of further objectives with FLOPs
    and energy.
    """

    health: Health
    hypervolume: float
    space_size: int
    infeasible: int
    outside: int
    silent: int
    failed: int
    unscored: int
    correlations: dict[str, dict[str, float | None]]

    def _repr_html_(self) -> str:
        """In a notebook: how far the search is, and how healthy."""
        found = self.health
        pairs = [
            ("trials", f"{found.trials:,} complete, {self.infeasible:,} outside the constraints, {self.silent} silent"),
            ("unique", f"{found.unique:,} of {self.space_size:,} architectures"),
            (
                "front",
                f"{units.counted(found.front_size, 'member')}, {found.nondominated_share:.1%} of the unique ones",
            ),
            ("hypervolume", f"{self.hypervolume:.4f} of the space's box"),
            ("Spearman", "" if found.spearman is None else f"{found.spearman:.4f} between FLOPs and energy"),
            ("failed", f"{self.failed:,} trials" if self.failed else ""),
            ("outside", f"{units.counted(self.outside, 'trial')} outside the space" if self.outside else ""),
            ("warning", found.warning or ""),
        ]
        return notebook.facts(pairs)


def summarise(search: Search) -> Summary:
    """Health, hypervolume and counts of a search, complete or not."""
    candidates = search.candidates()
    trials = search.study.get_trials(deepcopy=False)
    measured = sum(trial.state == TrialState.COMPLETE and CANDIDATE in trial.user_attrs for trial in trials)
    size, no_members = search.settings.space.size, {"infeasible", "silent", "unscored"}
    declared = search.settings.space.distributions()  # a program may have parameters of its own
    pruned = {
        frozenset(item for item in trial.params.items() if item[0] in declared)
        for trial in trials
        if no_members & trial.user_attrs.keys()
    }
    return Summary(
        health=health(candidates, size - len(pruned)),
        hypervolume=hypervolume(nondominated(candidates), search.settings.box),
        space_size=size,
        infeasible=sum("infeasible" in trial.user_attrs for trial in trials),
        outside=sum(OUTSIDE in trial.user_attrs for trial in trials) + measured - len(candidates),
        silent=sum("silent" in trial.user_attrs for trial in trials),
        failed=sum(trial.state == TrialState.FAIL for trial in trials),
        unscored=sum("unscored" in trial.user_attrs for trial in trials),
        correlations=correlations(candidates),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """How much of the exact front's hypervolume a search has reached, after how many trials, and after how many 95 % of it.

    `share` may pass 1 by as much as the spread inside the classes leaves open.
    """

    share: float
    trials: int
    trials_to_95: int | None


def reached(search: Search) -> Reached | None:
    """How near the search came to the exact front, None where that is not known or no trial is finished."""
    exact, course = search.exact(), search.course()
    if exact is None or not course.hypervolumes:
        return None
    last = course.hypervolumes[-1]
    return Reached(
        share=last / exact.hypervolume,
        trials=course.trials_to(last) or 0,
        trials_to_95=course.trials_to(0.95 * exact.hypervolume),
    )


def _foreign(study: optuna.Study, storage: str) -> ValueError:
    where = f"study {study.study_name!r} in {shown(storage)}"
    if _has_candidates(study.get_trials(deepcopy=False)):
        return ValueError(
            f"{where} has trials of Objective, but no settings; {units.command('study', 'adopt', study.study_name)} with the "
            "space and task of the objective (--space, --task) gives it some. If it is a copy that was cut off, delete it and "
            "copy again"
        )
    return ValueError(
        f"{where} was not made by autost-optuna, or not to the end; create one of another name, or, if it is empty, delete it "
        "and create it again"
    )


def _has_candidates(trials: Sequence[FrozenTrial]) -> bool:
    return any(CANDIDATE in trial.user_attrs for trial in trials)


def _exists(name: str, storage: str) -> StudyExists:
    return StudyExists(
        f"study {name!r} exists in {shown(storage)}; choose another name, pass --skip-if-exists, or delete it first"
    )
