"""What a sampler knows about a study: which trial holds which point, the parents of each generation, and the next point."""

import bisect
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autost_optuna.search.genes import Genes, Genome, Limits
from autost_optuna.search.selection import Individual, select

GENERATIONS_A_POPULATION = 5  # children are compared with their parents after each fifth of a population
CROSSOVER_SHARE = 0.9  # of the children, Deb et al. 2002
TRIES = 100  # attempts to draw a child before a random point is taken, and as many again before the space is swept
REPAIRS = 200  # moves towards the feasible region
SWEEP = 10_000  # most infeasible points to try when looking for a free one
GLANCE = 8  # the same, after every trial


class SpaceExhausted(optuna.TrialPruned):
    """Every feasible point of the space has been evaluated, or is being evaluated by another worker.

    Optuna treats it as a pruned trial, so that a request for one trial too many does not fail the study.
    """


@dataclass(kw_only=True, slots=True)
class Sweep:
    """A walk over the points within some limits; `at` is the first that may be free, None at the end."""

    points: Iterator[Genome]
    at: Genome | None


class Archive:
    """What a sampler knows about a study: which trial holds which point, and the parents of each generation."""

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
        self._sweeps: dict[tuple[tuple[int, tuple[int, ...]], ...], Sweep] = {}

    def is_of(self, study: optuna.Study) -> bool:
        """Whether this archive belongs to `study`."""
        return self._study == (study._storage, study._study_id)

    def sync(self, trials: Sequence[FrozenTrial]) -> None:
        """Add trials that are new or were unfinished at the last call."""
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

    def holders(self, genome: Genome) -> set[int]:
        """The numbers of the trials that hold the point."""
        return self._holders.get(self._genes.key(genome), set())

    def is_alone(self, genome: Genome, number: int) -> bool:
        """Whether no other trial holds the point."""
        return self.holders(genome) <= {number}

    def exhausted(self, limits: Limits) -> bool:
        """Whether no point is free within `limits`, as far as a quick check tells; False if `limits` hold no points at all."""
        return () not in limits.values() and self._left(GLANCE, limits) is None and self._sweep(limits).at is None

    def generation_of(self, number: int) -> int:
        """The number of generations that were complete before trial `number`."""
        before = bisect.bisect_left(self._numbers, number)
        return 0 if before < self._size else 1 + (before - self._size) // self._children

    def population(self, generation: int) -> list[Individual]:
        """The individuals of a generation."""
        return self._individuals[self._start(generation) : self._start(generation + 1)]

    def parents(self, generation: int) -> list[Individual]:
        """The parents of a generation."""
        return self._generations[generation] if 0 <= generation < len(self._generations) else []

    def propose(self, rng: random.Random, number: int, limits: Limits, *, queued: bool) -> Genome:
        """A point for trial `number` within `limits` that no trial holds, feasible if one is found.

        Without such a point, a `queued` trial repeats one, because it was requested; any other raises SpaceExhausted.
        """
        best: tuple[float, Genome] | None = None
        whole = queued and sum(len(choices) == 1 for choices in limits.values()) == len(self._genes.names)
        for attempt in range(2 * TRIES):
            genome = self._child(rng, attempt) if attempt < TRIES else self._genes.at_random(rng)
            genome = self._genes.within(rng, genome, limits)
            if whole or self._genes.outside(genome, limits):
                return genome
            if not self.is_alone(genome, number):
                continue
            violation = self._genes.violation(genome)
            if violation <= 0:
                return genome
            best = min(best or (violation, genome), (violation, genome))
        if best is not None:
            violation, genome = self._repaired(rng, number, limits, *best)
            if violation <= 0:
                return genome
        swept = not queued and () not in limits.values()
        left = self._left(SWEEP, limits) if swept else None
        if left is not None:
            return left
        if swept and self._sweep(limits).at is None:
            raise SpaceExhausted(
                f"the space is exhausted: every point {self._described(limits)} is evaluated, or is being evaluated"
            )
        if best is not None:
            return genome  # infeasible: finding out whether a feasible one is free would take long
        return self._genes.within(rng, self._genes.at_random(rng), limits)  # a repeat

    def _described(self, limits: Limits) -> str:
        """A description of the points within `limits`, for a message."""
        texts = []
        for place in sorted(limits):
            values = "/".join(str(self._genes.choices[place][gene]) for gene in limits[place])
            texts.append(f"{self._genes.names[place]}={values}")
        return f"with {', '.join(texts)}" if texts else "of it"

    def _child(self, rng: random.Random, attempt: int) -> Genome:
        """A child of the current parents, mutated more after more attempts; a random point if there are no parents."""
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
        """The better of two individuals by rank, then by crowding (Deb et al. 2002)."""
        one, other = (parents[int(rng.random() * len(parents))] for _ in range(2))
        (rank, crowding), (other_rank, other_crowding) = self._standing[one.number], self._standing[other.number]
        return other if (other_rank, -other_crowding) < (rank, -crowding) else one

    def _repaired(
        self, rng: random.Random, number: int, limits: Limits, violation: float, genome: Genome
    ) -> tuple[float, Genome]:
        """The point moved towards the feasible region, by steps of one gene that do not increase the violation."""
        for _ in range(REPAIRS):
            place = int(rng.random() * len(genome))
            if len(limits.get(place, (0, 1))) < 2:
                continue
            moved = (*genome[:place], self._genes.step(rng, place, genome[place]), *genome[place + 1 :])
            moved = self._genes.within(rng, moved, limits)
            after = self._genes.violation(moved)
            if after <= violation and self.is_alone(moved, number):
                violation, genome = after, moved
            if violation <= 0:
                break
        return violation, genome

    def _left(self, most: int, limits: Limits) -> Genome | None:
        """The first point within `limits` that no trial holds; None if there is none, or after `most` infeasible ones."""
        sweep = self._sweep(limits)
        while sweep.at is not None:
            if self._genes.key(sweep.at) not in self._holders:
                if self._genes.violation(sweep.at) <= 0:
                    return sweep.at
                most -= 1
                if most < 0:
                    return None
            sweep.at = next(sweep.points, None)
        return None

    def _sweep(self, limits: Limits) -> Sweep:
        key = tuple(sorted(limits.items()))
        if key not in self._sweeps:
            points = self._genes.points(limits)
            self._sweeps[key] = Sweep(points=points, at=next(points))
        return self._sweeps[key]

    def genome_of(self, trial: FrozenTrial) -> Genome | None:
        """The genome of a trial: expressed genes from its parameters, dormant ones as stored, else at random.

        None if the trial has too few parameters yet, or lies outside the space.
        """
        limits = self._genes.limits({**trial.system_attrs.get("fixed_params", {}), **trial.params})
        written = self._genes.checked(trial.system_attrs.get(self._genome_key))
        base = written or self._genes.at_random(generator(self._seed, trial.number))
        genome = tuple(limits[i][0] if limits.get(i) else gene for i, gene in enumerate(base))
        if self._genes.outside(genome, limits):
            return None
        if written is not None and not trial.state.is_finished():
            return genome  # its final genome, although not all of its parameters have been suggested yet
        expressed = self._genes.active(genome)
        return genome if all(i in limits for i, on in enumerate(expressed) if on) else None

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
                self._sweeps.clear()  # a point before their places is free again
        if key is not None:
            self._held[number] = key
            self._holders.setdefault(key, set()).add(number)

    def _join(self, trial: FrozenTrial, genome: Genome) -> None:
        """Count a trial as an individual, unless it has neither values nor a violation, like a silent network."""
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
        """The number of individuals before a generation."""
        return 0 if generation < 1 else self._size + (generation - 1) * self._children

    def _select(self) -> None:
        generation = len(self._generations) - 1
        pool = [*self._generations[-1], *self.population(generation)]
        parents, self._standing = select(pool, self._size)
        self._generations.append(parents)


def generator(seed: int, number: int) -> random.Random:
    """Random numbers that depend only on the sampler's seed and the trial's number."""
    return random.Random((seed << 64) | number)
