"""Objective: the candidate of an Optuna trial's architecture, measured without training."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import optuna

from autost_optuna.data import RateImages, Sample, check_classes, rate_images
from autost_optuna.front.candidate import MEASURED, TABLE, Candidate
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.front.front import Box
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.flops import count_flops
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES, GOALS, check_objectives, further
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.proxies.tabulate import check_tabulable
from autost_optuna.search.enrol import (
    LOCK,
    check_directions,
    check_trials,
    has_settings,
    is_left_out,
    leave_out,
    write_settings,
)
from autost_optuna.search.evaluate import evaluate
from autost_optuna.search.settings import POPULATION, Settings, check_rates, installed_versions
from autost_optuna.search.tables import Tabled, store_table, stored_table, tabulated
from autost_optuna.space.space import Space
from autost_optuna.storage.view import Journal
from autost_optuna.units import StrPath


class Unmeasurable(ValueError):  # noqa: N818 - a state, not an error
    """The corners of a space cannot be measured on these images."""


class Objective:
    """Two objectives of an Optuna trial: FLOPs (maximise) and energy in mJ per image at initialisation (minimise).

    It works with any Optuna study with the directions ("maximize", "minimize"). `objectives` may add further proxies to
    "flops" and "energy_mj" (`goals.GOALS`), in the order of the study's directions. Your own function may call the
    objective, suggest further parameters, and return further values after its values. ValueError if the directions differ.

    The first measured trial writes the objective's settings and the names of its values into the study, so that every
    command of autost-optuna can read the study if it is in a storage. For this, it measures the smallest and the largest
    architecture. ValueError if the study has other settings, or candidates measured under others.

    The candidate is stored as the trial's user attribute "candidate". The trial of a silent network is pruned, with the
    reason in the attribute "silent": its energy would beat all others and be meaningless. An architecture that violates the
    constraints is pruned with the reason "infeasible" and with Optuna's named constraints, so that fronts that do not read
    these, such as optuna-dashboard's, never show it. The reason is "unscored" if a score cannot separate images, and
    "outside" if an enqueued value is not in the space. Counts are checked before anything is measured. An architecture seen
    before is not measured again. With `rates` "table", energies come from the rates of a table of the space's parts, which is
    measured once and kept with the study; `study run` measures members of the front when it ends, `study.optimize` does not.

    Any number of threads may use it, as `study.optimize(..., n_jobs=2)` does. They measure one after the other, and measure
    the same architecture only once; to measure in parallel, use processes (`study run --workers`). Pickles and copies keep
    the known candidates.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        *,
        images: RateImages | None = None,
        data: str = "digits",
        data_root: StrPath | None = None,
        num_images: int = 4,
        convention: Convention = DEFAULT,
        constraints: Constraints | None = None,
        seed: int = 0,
        seeds: int = 1,
        device: str = "cpu",
        cache_bytes: int | None = None,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        rates: str = MEASURED,
    ) -> None:
        from autost_optuna.proxies.reuse import CACHE_BYTES, InitialRates

        space.check(task)
        check_objectives(objectives)
        check_rates(rates)
        self.objectives = tuple(objectives)
        self.space = space
        self.task = task
        self.data_root = data_root
        self.images = images or rate_images(
            task, Sample(data=data, data_root=data_root, images=num_images, seed=seed, seeds=seeds)
        )
        if images is None:
            check_classes(self.images, task)
        self.convention = convention
        self.constraints = (constraints or Constraints()).on(convention)
        limit = CACHE_BYTES if cache_bytes is None else cache_bytes
        self.rates = InitialRates(
            task,
            self.images.images.to(device),
            seed=seed,
            seeds=seeds,
            cache_bytes=limit,
            patterns=any(GOALS[name].source == "patterns" for name in objectives),
        )
        self.by_table = rates == TABLE
        if self.by_table:
            check_tabulable(space)
        self.tabled: Tabled | None = None
        self._known: dict[tuple[str, str], Candidate] = {}

    def remember(self, candidates: Iterable[Candidate]) -> None:
        """Keep candidates of earlier trials, so that their architectures are not measured again."""
        self._known.update(((candidate.architecture.key, candidate.rates), candidate) for candidate in candidates)

    def evaluate(self, architecture: Architecture) -> Candidate:
        """The candidate of an architecture, by measured rates or by those of the table, as the search knows it."""
        return self._scored(architecture, by_table=self.by_table)

    def measure(self, architecture: Architecture) -> Candidate:
        """The candidate of an architecture, measured once."""
        return self._scored(architecture, by_table=False)

    def table(self, on_done: Callable[[int, int], None] = lambda done, total: None) -> Tabled:
        """The table of rates of the space with its error, measured at the first call; `on_done` is that of `tabulate`."""
        from autost_optuna.proxies.proof import MEASURING

        with MEASURING:
            if self.tabled is None:
                self.tabled = tabulated(self.space, self.rates, self.convention, self.measure, on_done)
        return self.tabled

    def _scored(self, architecture: Architecture, *, by_table: bool) -> Candidate:
        candidate, names = self._plain(architecture, by_table), further(self.objectives)
        if not names or candidate.silent or candidate.scores:
            return candidate
        from autost_optuna.proxies.proof import MEASURING

        key = architecture.key, candidate.rates
        with MEASURING:
            candidate = self._known[key]
            if not candidate.scores:  # another thread may have been faster
                scores = measure_scores(architecture, self.rates, self.images.labels, names, self.convention)
                candidate = self._known[key] = replace(candidate, scores=tuple(scores.items()))
        return candidate

    def _plain(self, architecture: Architecture, by_table: bool) -> Candidate:
        """The candidate, possibly without the scores of further objectives, which take longer."""
        from autost_optuna.proxies.proof import MEASURING

        key = architecture.key, TABLE if by_table else MEASURED
        if key not in self._known:
            table = self.table().table if by_table else None
            with MEASURING:
                if key not in self._known:  # another thread may have been faster
                    self._known[key] = evaluate(
                        architecture, self.rates, convention=self.convention, data=self.images.data, table=table
                    )
        return self._known[key]

    @property
    def shared(self) -> dict[str, Any]:
        """The fields of `Settings` that all objectives of a study have in common."""
        return {
            "space": self.space,
            "task": self.task,
            "data": self.images.data,
            "images": len(self.images.images) // self.rates.seeds,
            "seeds": self.rates.seeds,
            "seed": self.rates.seed,
            "convention": self.convention,
            "constraints": self.constraints,
            "objectives": self.objectives,
            "rates": TABLE if self.by_table else MEASURED,
            "fingerprint": self.images.fingerprint,  # last, because the others explain why images differ
        }

    def settings(self, population: int = POPULATION) -> Settings:
        """What a study stores of this objective. Unmeasurable if its smallest or largest architecture cannot be measured."""
        return Settings(
            **self.shared,
            data_root=None if self.data_root is None else str(Path(self.data_root).resolve()),
            population=population,
            box=measure_box(self),
            versions=installed_versions(),
        )

    def adopt(self, study: optuna.Study, *, population: int = POPULATION, sampler: str | None = None) -> None:
        """Write the settings into a study of this objective, unless it has them; `sampler` names the study's sampler.

        ValueError if the study has other directions, other settings, or candidates measured under others.
        """
        check_directions(study, self.objectives)
        with LOCK:
            self._load_table(study)
            if not has_settings(study, self.shared):
                check_trials(study, self.shared, self.evaluate)
                settings = self.settings(population)
                if self.by_table:
                    store_table(study, self.space, self.table())
                write_settings(study, settings, sampler)

    def _lacks_settings(self, study: optuna.Study, *, alone: bool) -> bool:
        """Whether a trial's study has no settings yet; if `alone`, it stores no values beside those of this objective."""
        check_directions(study, self.objectives, alone=alone)
        return not is_left_out(study) and not has_settings(study, self.shared)

    def _load_table(self, study: optuna.Study) -> None:
        """Take over the table that a study of this objective keeps."""
        if self.by_table and self.tabled is None:
            self.tabled = stored_table(study, self.space, self.task)

    def _enrol(self, study: optuna.Study) -> None:
        """Adopt the study of a trial, with the population and the name of its sampler."""
        population = getattr(study.sampler, "population_size", None) or POPULATION
        try:
            self.adopt(study, population=population, sampler=type(study.sampler).__name__)
        except Unmeasurable as error:  # its trials are pruned for the same reason
            leave_out(study, error)

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        """The objectives of the architecture that the trial suggests, by default (FLOPs, energy in mJ)."""
        study = getattr(trial, "study", None)  # fixed and frozen trials have none
        # A user's function that calls it may return more values; Optuna itself cannot.
        alone = sys._getframe(1).f_globals.get("__name__", "").startswith("optuna.")
        lacking = study if study is not None and self._lacks_settings(study, alone=alone) else None
        storage = None if study is None else study._storage
        with storage.together() if isinstance(storage, Journal) else contextlib.nullcontext():
            architecture = self.space.suggest(trial)
        self._keep(trial, self.constraints.of_counts(architecture, self.task))
        if lacking is not None:
            self._enrol(lacking)
        elif study is not None:
            self._load_table(study)
        candidate = self._plain(architecture, self.by_table)
        trial.set_user_attr("candidate", candidate.to_dict())
        if candidate.silent:
            reason = f"silent network: mean spike rate {candidate.rate_in_words}; check the images"
            trial.set_user_attr("silent", reason)
            raise optuna.TrialPruned(reason)
        self._keep(trial, self.constraints.of_energy(candidate.energy_mj))
        if further(self.objectives):  # after all checks that may prune the trial, because some scores take seconds
            candidate = self.evaluate(architecture)
            trial.set_user_attr("candidate", candidate.to_dict())
        if candidate.unscored:
            trial.set_user_attr("unscored", candidate.unscored)
            raise optuna.TrialPruned(candidate.unscored)
        return tuple(candidate.value(name) for name in self.objectives)

    def _keep(self, trial: optuna.Trial, values: dict[str, float]) -> None:
        """Set the named constraints; prune the trial if one is violated."""
        for name, value in values.items():
            trial.set_constraint(name, value)
        if violation(values) > 0:
            broken = [f"{name} by {value:.2%}" for name, value in values.items() if value > 0]
            reason = f"outside the constraints: {', '.join(broken)}"
            trial.set_user_attr("infeasible", reason)
            raise optuna.TrialPruned(reason)


def measure_box(objective: Objective) -> Box:
    """The box from the smallest and largest architectures, with the reference point a tenth beyond the worst corner.

    They are those with each neuron of the space, and the largest of each family's stem.
    """
    sized = [(count_flops(end, objective.task), end) for end in objective.space.corners()]
    first = objective.space.neurons[0]
    stems = dict.fromkeys(end.form.stem for _, end in sized)
    ends = [
        pick(((flops, end) for flops, end in sized if end.neuron == neuron), key=itemgetter(0))
        for neuron in objective.space.neurons
        for pick in (min, max)
    ]
    for stem in stems if len(stems) > 1 else ():
        some = [(flops, end) for flops, end in sized if (end.neuron, end.form.stem) == (first, stem)]
        ends.append(max(some, key=itemgetter(0)))
    corners = [objective.measure(end) for _, end in ends]
    if all(corner.silent for corner in corners):
        least = min(corners, key=lambda corner: corner.mean_rate)
        raise Unmeasurable(
            f"the network is silent on these images (mean spike rate {least.rate_in_words}); "
            "give real images that are not blank"
        )
    corners = [corner for corner in corners if not corner.silent]
    if unscored := next((corner.unscored for corner in corners if corner.unscored), None):
        raise Unmeasurable(f"{unscored}; give other images, or leave out that objective")
    return Box(
        worst_flops=0.9 * min(flops for flops, _ in ends),
        worst_energy_mj=1.1 * max(corner.energy_mj for corner in corners),
        best_flops=max(flops for flops, _ in ends),
        best_energy_mj=min(corner.energy_mj for corner in corners),
    )
