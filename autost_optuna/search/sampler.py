"""NSGA-II over a declared, finite space: it keeps dormant genes, never evaluates a point twice, and continues an interrupted
run as if nothing had happened. It works in any Optuna study: `optuna.create_study(sampler=DeclaredNSGAIISampler(space))`.
"""

import contextlib
import random
import threading
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler, PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.search.archive import Archive, SpaceExhausted, generator
from autost_optuna.search.genes import Genes, choices_of, choices_within, contains
from autost_optuna.storage.view import Journal

__all__ = ["DeclaredNSGAIISampler", "SpaceExhausted"]

_logger = optuna.logging.get_logger(__name__)


class DeclaredNSGAIISampler(BaseGASampler):
    """NSGA-II (Deb et al. 2002) for a space that is declared in advance, with genes that may be dormant.

    `space` gives the choices of every parameter that the objective may ask for; each parameter comes after those that decide
    whether it is active. `active(values)` names the active parameters, given a value for each (by default, all are active).
    `violation(values)` is 0 if a point is known to be feasible without evaluation, else a measure of its violation; such
    points are avoided. Other constraints follow Optuna's named constraints.

    Unlike Optuna's NSGAIISampler, it crosses the declared space, not only the parameters that all trials share, and a child
    inherits dormant genes; tournaments use crowding; an ordered choice mutates to a nearby one; after the first population, a
    generation is a fifth of one; an evaluated, running or queued point is not drawn again; added and enqueued trials become
    parents; random numbers depend only on (seed, trial number); and an index of the trials saves reading them all again.
    When the space is exhausted, it says so, ends `study.optimize`, and raises SpaceExhausted for further requests.

    In a PartialFixedSampler it evaluates each point with the fixed values once and ends when these are exhausted. Trials
    with a value (fixed, enqueued or added) that is not a declared choice are not points of the space: they do not become
    parents and may repeat.

    Raises ValueError if a distribution is continuous.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        *,
        active: Callable[[Mapping[str, Any]], Collection[str]] | None = None,
        violation: Callable[[Mapping[str, Any]], float] | None = None,
        population_size: int = 50,
        seed: int | None = None,
    ) -> None:
        if not space:
            raise ValueError("the space has no parameter; declare at least one")
        if isinstance(population_size, bool) or not isinstance(population_size, int) or population_size < 2:
            raise ValueError(f"population_size {population_size!r} is not a whole number of at least 2; use 50")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise ValueError(f"seed {seed!r} is not a whole number of at least 0; use one, or None")
        super().__init__(population_size=population_size)
        self._space = dict(space)
        self._genes = Genes({name: choices_of(name, given) for name, given in space.items()}, active, violation)
        self._seed = random.SystemRandom().getrandbits(63) if seed is None else seed
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """The sampler without its index, which each process reads from the study again."""
        return {**self.__dict__, "_archive": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """A copy of the declared space, which the caller may change."""
        return dict(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for the names in `search_space`, of a point that no other trial holds. SpaceExhausted if there is none.

        The point keeps values that are already fixed: those of the trial, enqueued or suggested, and those that a
        PartialFixedSampler will give. A declared name takes a choice that its distribution in `search_space` also contains.
        If there is none, or the name is not declared, it is drawn independently.

        The point is stored before it is used, and drawn again if another trial has stored the same one: of two workers, the
        second to look sees the first.
        """
        rng = generator(self._seed, trial.number)
        queued = trial.system_attrs.get("fixed_params", {})
        narrowed = self._narrowed(search_space)
        independent = {
            name: self.sample_independent(study, trial, name, given)
            for name, given in search_space.items()
            if not narrowed.get(name, name in self._space)
        }
        known = {**self._fixed(study.sampler), **independent, **queued, **trial.params}
        limits = {i: narrowed[name] for i, name in enumerate(self._genes.names) if narrowed.get(name)}
        limits |= self._genes.limits(known)
        asked = not self._space.keys().isdisjoint(queued)
        with self._lock:
            while True:
                archive = self._synced(study)
                try:
                    genome = archive.propose(rng, trial.number, limits, queued=asked)
                except SpaceExhausted:
                    _stop(study)
                    raise
                if self._genes.outside(genome, limits):  # not a point of the space: there is nothing to hold
                    break
                repeat = not archive.is_alone(genome, trial.number)  # fixed when it was enqueued
                study._storage.set_trial_system_attr(trial._trial_id, self._genome_key(), list(genome))
                if repeat or self._synced(study).is_alone(genome, trial.number):
                    break
        values = {**self._genes.values(genome), **independent}
        return {name: values[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of a declared parameter in the trial's point if the distribution contains it, else a random value."""
        genome = self._genes.checked(trial.system_attrs.get(self._genome_key()))
        if genome is not None and type(param_distribution) is type(self._space.get(param_name)):
            value = self._genes.values(genome)[param_name]
            if contains(param_distribution, value):
                return value
        seed = zlib.crc32(f"{self._seed}:{trial.number}:{param_name}".encode())
        return optuna.samplers.RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def _narrowed(self, search_space: Mapping[str, BaseDistribution]) -> dict[str, tuple[int, ...]]:
        """The indices of the remaining choices of each declared parameter that has another distribution here."""
        return {
            name: choices_within(choices, self._space[name], search_space[name])
            for name, choices in zip(self._genes.names, self._genes.choices, strict=True)
            if search_space.get(name, self._space[name]) != self._space[name]
        }

    def _fixed(self, sampler: BaseSampler) -> dict[str, Any]:
        """The values that the PartialFixedSampler around this sampler sets; it only reveals which names are left."""
        fixed: dict[str, Any] = {}
        while isinstance(sampler, PartialFixedSampler):
            fixed = {**sampler._fixed_params, **fixed}
            sampler = sampler._base_sampler
        return fixed if sampler is self else {}

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End `study.optimize` if this trial was the last one."""
        limits = self._genes.limits(self._fixed(study.sampler))
        with self._lock:
            archive = self._archive if state != TrialState.FAIL else None
            ended = archive is not None and archive.is_of(study) and archive.exhausted(limits)
        if ended:
            _stop(study)

    def point_of(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """The parameters that a trial of the study has, or will have once all are suggested."""
        with self._lock:
            genome = self._synced(study).genome_of(trial)
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        return given if genome is None else self._genes.expressed(genome)

    def holders(self, study: optuna.Study, trial: FrozenTrial) -> set[int]:
        """The numbers of all other trials that have or will have its point; failed trials do not count."""
        with self._lock:
            archive = self._synced(study)
            genome = archive.genome_of(trial)
            return set() if genome is None else archive.holders(genome) - {trial.number}

    def exhausted(self, study: optuna.Study) -> bool:
        """Whether every feasible point has been or is being evaluated; False if finding out would take long.

        In a PartialFixedSampler, this concerns the feasible points with the fixed values.
        """
        limits = self._genes.limits(self._fixed(study.sampler))
        with self._lock:
            return self._synced(study).exhausted(limits)

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The generation of the trial, which determines its parents."""
        with self._lock:
            return self._synced(study).generation_of(trial.number)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The trials whose generation is `generation`."""
        with self._lock:
            individuals = self._synced(study).population(generation)
        trials = _trials(study)
        return [trials[individual.number] for individual in individuals]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents of a generation; the first has none. They follow from the trials, so nothing is stored."""
        return self.select_parent(study, generation)

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The best of the previous generation and its parents, by rank and crowding."""
        with self._lock:
            individuals = self._synced(study).parents(generation)
        trials = _trials(study)
        return [trials[individual.number] for individual in individuals]

    def _synced(self, study: optuna.Study) -> Archive:
        if self._archive is None or not self._archive.is_of(study):
            self._archive = Archive(study, self._genes, self.population_size or 2, self._seed, self._genome_key())
        self._archive.sync(_trials(study))
        return self._archive

    @classmethod
    def _genome_key(cls) -> str:
        return f"{cls.__name__}:genome"


def _trials(study: optuna.Study) -> Sequence[FrozenTrial]:
    """All trials by number; with a HyperbandPruner, the study that a sampler receives lists only some of them."""
    if isinstance(study._storage, Journal):
        return study._storage.view(study._study_id)
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def _stop(study: optuna.Study) -> None:
    """End `study.optimize`; a caller that asks for trials one by one decides when to stop."""
    _logger.info("The space is exhausted: every point that may be drawn has been evaluated.")
    with contextlib.suppress(RuntimeError):
        study.stop()
