"""Genes: a declared, finite space of Optuna's distributions as places among choices, with ordinal mutation."""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Genome = tuple[int, ...]  # an index into its choices for every gene of the declared space, dormant ones included
DORMANT = -1
DISTRIBUTION_INDEX = 20.0  # of polynomial mutation, Deb et al. 2002
MOST_CHOICES = 1_000_000


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
        place = self._places[gene].get(value) if isinstance(value, Hashable) else None  # a list may be enqueued
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
