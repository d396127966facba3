"""Genes: a declared, finite space of Optuna's distributions as places among choices, with ordinal mutation."""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Genome = tuple[int, ...]  # an index into its choices for every gene of the declared space, dormant ones included
# The choices that some genes are left with, by place; none where the gene's value is no choice of the declared space.
Limits = Mapping[int, tuple[int, ...]]
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

    def limits(self, params: Mapping[str, Any]) -> dict[int, tuple[int, ...]]:
        """The genes that `params` fix, by place; a value that is no choice leaves none, and undeclared names limit nothing."""
        places = {i: self._place(i, params[name]) for i, name in enumerate(self.names) if name in params}
        return {i: () if place is None else (place,) for i, place in places.items()}

    def within(self, rng: random.Random, genome: Genome, limits: Limits) -> Genome:
        """The genome with a random choice of its limits for every gene that lies outside them."""
        if not limits:
            return genome
        found = list(genome)
        for place, choices in limits.items():
            if choices and genome[place] not in choices:
                found[place] = choices[int(rng.random() * len(choices)) if len(choices) > 1 else 0]
        return tuple(found)

    def outside(self, genome: Genome, limits: Limits) -> bool:
        """Whether an expressed gene has a value that is no choice, so that this is no point of the declared space."""
        if () not in limits.values():
            return False
        return any(on and limits.get(place) == () for place, on in enumerate(self.active(genome)))

    def _place(self, gene: int, value: Any) -> int | None:
        """The place of a value among the choices of a gene; a multiple of a step may be rounded another way, 0.1 + 0.2."""
        if not isinstance(value, Hashable):  # a list, which is no value of Optuna's, in an enqueued trial
            return None
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

    def points(self, limits: Limits | None = None) -> Iterator[Genome]:
        """Every point of the space once, within `limits`, dormant genes at the first choice that they have there."""
        allowed = [(limits or {}).get(place, range(len(choices))) for place, choices in enumerate(self.choices)]

        def from_place(genome: list[int], place: int) -> Iterator[Genome]:
            if place == len(genome):
                yield tuple(genome)
                return
            whole = self._active is None or self.active(tuple(genome))[place]
            for gene in allowed[place] if whole else allowed[place][:1]:
                genome[place] = gene
                yield from from_place(genome, place + 1)
            genome[place] = allowed[place][0]

        yield from from_place([choices[0] for choices in allowed], 0)


def choices_of(name: str, distribution: BaseDistribution) -> tuple[Any, ...]:
    """All values of a distribution, in its order. ValueError if it is continuous or has too many."""
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


def choices_within(choices: Sequence[Any], declared: BaseDistribution, given: BaseDistribution) -> tuple[int, ...]:
    """The places of the declared choices that a distribution has, of the same kind; none of another kind."""
    if type(given) is not type(declared):
        return ()
    return tuple(place for place, choice in enumerate(choices) if contains(given, choice))


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a distribution has a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether choices are numbers in ascending order, so that near ones are alike."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and all(after > before for before, after in itertools.pairwise(values))
