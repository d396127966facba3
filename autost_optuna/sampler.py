"""NSGA-II over a declared, finite space: dormant genes are kept, no point is evaluated twice, and an interrupted run goes on
as if it had not been. A plug-in for any Optuna study: `optuna.create_study(sampler=DeclaredNSGAIISampler(space))`.
"""

import bisect
import contextlib
import itertools
import math
import random
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Genome = tuple[int, ...]  # an index into its choices for every gene of the declared space, dormant ones included
DORMANT = -1

GENERATIONS_A_POPULATION = 5  # children are weighed against their parents a fifth of a population at a time
CROSSOVER_SHARE = 0.9  # of the children, Deb et al. 2002
DISTRIBUTION_INDEX = 20.0  # of polynomial mutation, Deb et al. 2002
TRIES = 100  # children drawn before a point is taken at random, and as many again before the space is swept
REPAIRS = 200  # moves towards the feasible region
SWEEP = 10_000  # infeasible points looked at, at most, to find one that is left
GLANCE = 8  # of them, after every trial
MOST_CHOICES = 1_000_000

_logger = optuna.logging.get_logger(__name__)


class SpaceExhausted(optuna.TrialPruned):
    """Every feasible point of the space has been evaluated, or is being evaluated by another worker.

    To Optuna it is a pruned trial, so that a trial which was asked for in vain fails no study.
    """


class DeclaredNSGAIISampler(BaseGASampler):
    """NSGA-II (Deb et al. 2002) for a space that is declared in advance, with genes that may be dormant.

    `space` gives the choices of every parameter that the objective may ask for, in an order in which a parameter stands
    behind those that decide whether it is asked for. `active(values)` names the parameters asked for, given a value for
    each (all of them, by default). `violation(values)` is 0 where a point can be seen to be feasible without evaluating it,
    else by how much it is not; such points are avoided, and others follow Optuna's named constraints.

    Unlike Optuna's NSGAIISampler it crosses the declared space, not the parameters that all trials happened to share, and a
    child inherits dormant genes; its tournaments weigh crowding; a mutation of an ordered choice goes to one near by; after
    the first population a generation is a fifth of one; an evaluated, running or queued point is not drawn again; added
    and enqueued trials become parents; random numbers depend on (seed, trial number) alone; and an index of the trials is
    kept instead of reading all of them again. When the space is exhausted it says so, ends `study.optimize`, and raises
    SpaceExhausted where asked for more.

    ValueError where a distribution is continuous.
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
        """The sampler without its index, which any process reads from the study anew."""
        return {**self.__dict__, "_archive": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The declared space."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point that no other trial holds. SpaceExhausted where there is none.

        It is written down before it is taken, and drawn again where another trial turns out to have written the same one:
        of two workers, the second to look sees the first.
        """
        rng = generator(self._seed, trial.number)
        fixed = self._genes.indices(trial.system_attrs.get("fixed_params", {}))
        with self._lock:
            while True:
                archive = self._synced(study)
                try:
                    genome = archive.propose(rng, trial.number, fixed)
                except SpaceExhausted:
                    _stop(study)
                    raise
                repeat = not archive.is_alone(genome, trial.number)  # fixed by whoever enqueued it
                study._storage.set_trial_system_attr(trial._trial_id, self._genome_key(), list(genome))
                if repeat or self._synced(study).is_alone(genome, trial.number):
                    return self._genes.values(genome)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that was not declared."""
        seed = zlib.crc32(f"{self._seed}:{trial.number}:{param_name}".encode())
        return optuna.samplers.RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End `study.optimize` where this trial was the last one."""
        with self._lock:
            ended = state != TrialState.FAIL and self._archive is not None and self._archive.exhausted()
        if ended:
            _stop(study)

    def point_of(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """The parameters that a trial of the study has, or will have once it has asked for all of them."""
        with self._lock:
            genome = self._synced(study).genome_of(trial)
        return dict(trial.params) if genome is None else self._genes.expressed(genome)

    def exhausted(self, study: optuna.Study) -> bool:
        """Whether every feasible point has been evaluated, or is being so; False where that would take long to tell."""
        with self._lock:
            return self._synced(study).exhausted()

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The generation of the trial: which parents it has."""
        with self._lock:
            return self._synced(study).generation_of(trial.number)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The trials whose generation is `generation`."""
        with self._lock:
            individuals = self._synced(study).population(generation)
        trials = study.get_trials(deepcopy=False)
        return [trials[individual.number] for individual in individuals]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents of a generation, none of the first. They follow from the trials, so nothing is stored."""
        return self.select_parent(study, generation)

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The best of the generation before and of its parents, by rank and crowding."""
        with self._lock:
            individuals = self._synced(study).parents(generation)
        trials = study.get_trials(deepcopy=False)
        return [trials[individual.number] for individual in individuals]

    def _synced(self, study: optuna.Study) -> "Archive":
        if self._archive is None or not self._archive.is_of(study):
            self._archive = Archive(study, self._genes, self.population_size or 2, self._seed, self._genome_key())
        self._archive.sync(study.get_trials(deepcopy=False))
        return self._archive

    @classmethod
    def _genome_key(cls) -> str:
        return f"{cls.__name__}:genome"


@dataclass(frozen=True, kw_only=True, slots=True)
class Individual:
    """A finished trial as a parent: `values` are to be minimised, and none where it is infeasible."""

    number: int
    genome: Genome
    values: tuple[float, ...]
    violation: float


class Genes:
    """The declared space as genes: indices into the choices of each parameter."""

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        active: Callable[[Mapping[str, Any]], Collection[str]] | None = None,
        violation: Callable[[Mapping[str, Any]], float] | None = None,
    ) -> None:
        self.names = tuple(choices)
        self.choices = tuple(tuple(values) for values in choices.values())
        self.ordered = tuple(is_ordered(values) for values in self.choices)
        self._places = [{value: place for place, value in enumerate(values)} for values in self.choices]
        self._active, self._violation = active, violation

    def values(self, genome: Genome) -> dict[str, Any]:
        """The value of every parameter, dormant ones included."""
        return {n: c[g] for n, c, g in zip(self.names, self.choices, genome, strict=True)}

    def expressed(self, genome: Genome) -> dict[str, Any]:
        """The value of every parameter that is asked for."""
        return {n: v for (n, v), on in zip(self.values(genome).items(), self.active(genome), strict=True) if on}

    def indices(self, params: Mapping[str, Any]) -> dict[int, int]:
        """The genes that `params` give, by place; what is not declared, or no choice, is left out."""
        places = ((i, self._place(i, params[name])) for i, name in enumerate(self.names) if name in params)
        return {i: place for i, place in places if place is not None}

    def _place(self, gene: int, value: Any) -> int | None:
        """The place of a value among the choices of a gene; a multiple of a step may be rounded another way, 0.1 + 0.2."""
        place = self._places[gene].get(value)
        if place is None and isinstance(value, float) and self.ordered[gene]:
            choices = self.choices[gene]
            near = bisect.bisect_left(choices, value)
            places = [
                i for i in (near - 1, near) if 0 <= i < len(choices) and math.isclose(choices[i], value, abs_tol=1e-12)
            ]
            place = places[0] if places else None
        return place

    def active(self, genome: Genome) -> list[bool]:
        """Which genes are expressed."""
        if self._active is None:
            return [True] * len(genome)
        asked = self._active(self.values(genome))
        return [name in asked for name in self.names]

    def key(self, genome: Genome) -> Genome:
        """What makes two genomes the same point: the expressed genes."""
        if self._active is None:
            return genome
        return tuple(g if on else DORMANT for g, on in zip(genome, self.active(genome), strict=True))

    def violation(self, genome: Genome) -> float:
        """By how much the point is seen to be infeasible before it is evaluated, 0 where it is not."""
        return 0.0 if self._violation is None else self._violation(self.values(genome))

    def at_random(self, rng: random.Random) -> Genome:
        """A random genome."""
        return tuple(int(rng.random() * len(choices)) for choices in self.choices)

    def checked(self, written: object) -> Genome | None:
        """A genome that was written down, None where it is none of this space."""
        if not isinstance(written, list) or len(written) != len(self.names):
            return None
        fits = all(0 <= gene < len(choices) for gene, choices in zip(written, self.choices, strict=True))
        return tuple(written) if fits else None

    def mutate(self, rng: random.Random, genome: Genome, rate: float) -> Genome:
        """Each gene changed with probability `rate`; an ordered one to a place near by, another one to any other choice."""
        return tuple(self.step(rng, place, gene) if rng.random() < rate else gene for place, gene in enumerate(genome))

    def step(self, rng: random.Random, place: int, gene: int) -> int:
        """Another choice of a gene, where it has one.

        Polynomial mutation of Deb and Goyal 1996, of a place among ordered choices, rounded away from where it was.
        """
        last = len(self.choices[place]) - 1
        if last == 0:
            return gene
        if not self.ordered[place]:
            return (gene + 1 + int(rng.random() * last)) % (last + 1)
        up = rng.random() < 0.5
        width: float = 1 - rng.random() ** (1 / (1 + DISTRIBUTION_INDEX))
        moved = gene + max(1, round(width * last)) * (1 if up else -1)
        if 0 <= moved <= last:
            return moved
        return gene - 1 if gene == last else gene + 1 if gene == 0 else min(max(moved, 0), last)

    def points(self) -> Iterator[Genome]:
        """Every point of the space once, dormant genes at their first choice."""

        def from_place(genome: list[int], place: int) -> Iterator[Genome]:
            if place == len(genome):
                yield tuple(genome)
                return
            whole = self._active is None or self.active(tuple(genome))[place]
            for gene in range(len(self.choices[place]) if whole else 1):
                genome[place] = gene
                yield from from_place(genome, place + 1)
            genome[place] = 0

        yield from from_place([0] * len(self.names), 0)


class Archive:
    """What a sampler knows of a study: who holds which point, and the parents of each generation."""

    def __init__(self, study: optuna.Study, genes: Genes, population_size: int, seed: int, genome_key: str) -> None:
        self._study = (study._storage, study._study_id)
        self._genes, self._seed, self._genome_key = genes, seed, genome_key
        self._size, self._children = population_size, max(1, population_size // GENERATIONS_A_POPULATION)
        self._signs = tuple(-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions)
        self._read = 0
        self._open: set[int] = set()
        self._holders: dict[Genome, set[int]] = {}
        self._held: dict[int, Genome] = {}
        self._individuals: list[Individual] = []
        self._numbers: list[int] = []
        self._generations: list[list[Individual]] = [[]]
        self._standing: dict[int, tuple[int, float]] = {}
        self._points = genes.points()
        self._next: Genome | None = next(self._points)

    def is_of(self, study: optuna.Study) -> bool:
        """Whether this is what is known of `study`."""
        return self._study == (study._storage, study._study_id)

    def sync(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in trials that are new, or were not finished when last looked at."""
        pending = [*sorted(self._open), *range(self._read, len(trials))]
        self._read = len(trials)
        for trial in (trials[number] for number in pending):
            finished = trial.state.is_finished()
            (self._open.discard if finished else self._open.add)(trial.number)
            genome = None if trial.state == TrialState.FAIL else self.genome_of(trial)
            self._hold(trial.number, genome)
            if finished and genome is not None:
                self._join(trial, genome)
        while len(self._individuals) >= self._start(len(self._generations)):
            self._select()

    def is_alone(self, genome: Genome, number: int) -> bool:
        """Whether no other trial holds the point."""
        return self._holders.get(self._genes.key(genome), set()) <= {number}

    def exhausted(self) -> bool:
        """Whether no point is left, as far as a glance tells."""
        return self._left(GLANCE) is None and self._next is None

    def generation_of(self, number: int) -> int:
        """How many generations were complete before trial `number`."""
        before = bisect.bisect_left(self._numbers, number)
        return 0 if before < self._size else 1 + (before - self._size) // self._children

    def population(self, generation: int) -> list[Individual]:
        """The individuals of a generation."""
        return self._individuals[self._start(generation) : self._start(generation + 1)]

    def parents(self, generation: int) -> list[Individual]:
        """The parents of a generation."""
        return self._generations[generation] if 0 <= generation < len(self._generations) else []

    def propose(self, rng: random.Random, number: int, fixed: Mapping[int, int]) -> Genome:
        """A point for trial `number` that no trial holds, with the `fixed` genes, feasible where one is found."""
        best: tuple[float, Genome] | None = None
        for attempt in range(2 * TRIES):
            genome = self._child(rng, attempt) if attempt < TRIES else self._genes.at_random(rng)
            genome = tuple(fixed.get(place, gene) for place, gene in enumerate(genome))
            if len(fixed) == len(genome):
                return genome
            if not self.is_alone(genome, number):
                continue
            violation = self._genes.violation(genome)
            if violation <= 0:
                return genome
            best = min(best or (violation, genome), (violation, genome))
        if best is not None:
            violation, genome = self._repaired(rng, number, fixed, *best)
            if violation <= 0:
                return genome
        left = None if fixed else self._left(SWEEP)
        if left is not None:
            return left
        if not fixed and self._next is None:
            raise SpaceExhausted("the space is exhausted: every point of it is evaluated, or is being evaluated")
        if best is not None:
            return genome  # infeasible: whether a feasible one is left would take long to tell
        return tuple(fixed.get(place, gene) for place, gene in enumerate(self._genes.at_random(rng)))  # a repeat

    def _child(self, rng: random.Random, attempt: int) -> Genome:
        """A child of the present parents, mutated the more, the more attempts came before; a random point without any."""
        parents = self._generations[-1]
        if not parents:
            return self._genes.at_random(rng)
        genome = self._tournament(rng, parents).genome
        if rng.random() < CROSSOVER_SHARE:
            other = self._tournament(rng, parents).genome
            genome = tuple(a if rng.random() < 0.5 else b for a, b in zip(genome, other, strict=True))
        expressed = sum(self._genes.active(genome))
        return self._genes.mutate(rng, genome, min(0.5, (1 + attempt / 4) / max(1, expressed)))

    def _tournament(self, rng: random.Random, parents: Sequence[Individual]) -> Individual:
        """The better of two, by rank, then by crowding (Deb et al. 2002)."""
        one, other = (parents[int(rng.random() * len(parents))] for _ in range(2))
        (rank, crowding), (other_rank, other_crowding) = self._standing[one.number], self._standing[other.number]
        return other if (other_rank, -other_crowding) < (rank, -crowding) else one

    def _repaired(
        self, rng: random.Random, number: int, fixed: Mapping[int, int], violation: float, genome: Genome
    ) -> tuple[float, Genome]:
        """The point moved towards the feasible region, by steps of one gene that do not lead away from it."""
        for _ in range(REPAIRS):
            place = int(rng.random() * len(genome))
            if place in fixed:
                continue
            moved = (*genome[:place], self._genes.step(rng, place, genome[place]), *genome[place + 1 :])
            after = self._genes.violation(moved)
            if after <= violation and self.is_alone(moved, number):
                violation, genome = after, moved
            if violation <= 0:
                break
        return violation, genome

    def _left(self, most: int) -> Genome | None:
        """The first point that no trial holds, None where there is none, or where `most` infeasible ones come before it."""
        while self._next is not None:
            if self._genes.key(self._next) not in self._holders:
                if self._genes.violation(self._next) <= 0:
                    return self._next
                most -= 1
                if most < 0:
                    return None
            self._next = next(self._points, None)
        return None

    def genome_of(self, trial: FrozenTrial) -> Genome | None:
        """The genome of a trial: expressed genes from its parameters, dormant ones as written down, else at random.

        None where the trial says too little yet, or lies outside the space.
        """
        given = self._genes.indices({**trial.system_attrs.get("fixed_params", {}), **trial.params})
        written = self._genes.checked(trial.system_attrs.get(self._genome_key))
        base = written or self._genes.at_random(generator(self._seed, trial.number))
        genome = tuple(given.get(i, g) for i, g in enumerate(base))
        if written is not None and not trial.state.is_finished():
            return genome  # what it will be, though not all of its parameters are asked for yet
        expressed = self._genes.active(genome)
        return genome if all(i in given for i, on in enumerate(expressed) if on) else None

    def _hold(self, number: int, genome: Genome | None) -> None:
        key = None if genome is None else self._genes.key(genome)
        before = self._held.get(number)
        if key == before:
            return
        if before is not None:
            del self._held[number]
            self._holders[before].discard(number)
            if not self._holders[before]:
                del self._holders[before]
                self._points = self._genes.points()  # a point before the place of the sweep is free again
                self._next = next(self._points)
        if key is not None:
            self._held[number] = key
            self._holders.setdefault(key, set()).add(number)

    def _join(self, trial: FrozenTrial, genome: Genome) -> None:
        """Count a trial as an individual, unless it has neither values nor a violation, as a network that is silent."""
        violation = sum(max(0.0, value) for value in trial.constraints.values())
        values = trial.values if trial.state == TrialState.COMPLETE else None
        if values is None and not violation:
            return
        signed = () if values is None or violation else tuple(s * v for s, v in zip(self._signs, values, strict=True))
        place = bisect.bisect(self._numbers, trial.number, lo=self._start(len(self._generations) - 1))
        self._numbers.insert(place, trial.number)
        self._individuals.insert(
            place, Individual(number=trial.number, genome=genome, values=signed, violation=violation)
        )

    def _start(self, generation: int) -> int:
        """How many individuals come before a generation."""
        return 0 if generation < 1 else self._size + (generation - 1) * self._children

    def _select(self) -> None:
        generation = len(self._generations) - 1
        pool = [*self._generations[-1], *self.population(generation)]
        parents, self._standing = select(pool, self._size)
        self._generations.append(parents)


def select(pool: Sequence[Individual], size: int) -> tuple[list[Individual], dict[int, tuple[int, float]]]:
    """The `size` best of the pool by rank, then crowding, and their (rank, crowding) by trial number.

    Infeasible ones rank behind all feasible ones, by violation (constrained domination, Deb et al. 2002).
    """
    feasible = [individual for individual in pool if individual.violation <= 0]
    ranks = nondomination_ranks([individual.values for individual in feasible])
    fronts: dict[int, list[Individual]] = {}
    for individual, rank in zip(feasible, ranks, strict=True):
        fronts.setdefault(rank, []).append(individual)
    order: list[tuple[int, float, Individual]] = []
    for rank in sorted(fronts):
        crowding = crowding_distances([individual.values for individual in fronts[rank]])
        order += [(rank, c, individual) for c, individual in zip(crowding, fronts[rank], strict=True)]
    infeasible = sorted((i for i in pool if i.violation > 0), key=lambda i: (i.violation, i.number))
    order += [(len(fronts) + place, 0.0, individual) for place, individual in enumerate(infeasible)]
    order.sort(key=lambda line: (line[0], -line[1], line[2].number))
    chosen = order[:size]
    return [line[2] for line in chosen], {line[2].number: line[:2] for line in chosen}


def nondomination_ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """The rank of each point, all axes to be minimised: 0 where no other dominates it, 1 where only such do, and so on."""
    order = sorted(range(len(points)), key=lambda index: tuple(points[index]))  # only points before it dominate a point
    ranks = [0] * len(points)
    if points and len(points[0]) == 2:
        # Of each rank the point of least y, which dominates whatever another one of the rank does.
        ends: list[tuple[float, float]] = []
        for index in order:
            x, y = points[index]
            rank = bisect.bisect_left(ends, (y, x))
            ends[rank : rank + 1] = [(y, x)]
            ranks[index] = rank
        return ranks
    for place, index in enumerate(order):
        dominating = (ranks[other] for other in order[:place] if dominates(points[other], points[index]))
        ranks[index] = 1 + max(dominating, default=-1)
    return ranks


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere more than `other`, and somewhere less."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def crowding_distances(points: Sequence[Sequence[float]]) -> list[float]:
    """The crowding distance of each point of a front (Deb et al. 2002): the ends are infinitely far from others."""
    distances = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda index: points[index][axis])
        low, high = points[order[0]][axis], points[order[-1]][axis]
        if not 0 < high - low < math.inf:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distances[index] += (points[after][axis] - points[before][axis]) / (high - low)
    return distances


def _stop(study: optuna.Study) -> None:
    """End `study.optimize`; where trials are asked for one by one, whoever asks stops."""
    _logger.info("The space is exhausted: every point of it has been evaluated.")
    with contextlib.suppress(RuntimeError):
        study.stop()


def generator(seed: int, number: int) -> random.Random:
    """Random numbers that depend on the sampler's seed and the trial's number alone."""
    return random.Random((seed << 64) | number)


def choices_of(name: str, distribution: BaseDistribution) -> tuple[Any, ...]:
    """All values of a distribution, in its order. ValueError where it is continuous or has too many."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if isinstance(distribution, IntDistribution):
        steps = range(distribution.low, distribution.high + 1, distribution.step)
        if len(steps) <= MOST_CHOICES:
            return tuple(steps)
    elif isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        if count <= MOST_CHOICES:
            return tuple(distribution.low + distribution.step * place for place in range(count))
    raise ValueError(
        f"parameter {name}: {distribution} has no list of at most {MOST_CHOICES:,} values; give it a step, or choices"
    )


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether choices are numbers in ascending order, so that near ones are alike."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and all(after > before for before, after in itertools.pairwise(values))
