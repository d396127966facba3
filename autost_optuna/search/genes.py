"""Genes: a declared, finite space of Optuna's distributions as indices into choices, with ordinal mutation."""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Genome = tuple[int, ...]  # an index into the choices of every gene of the declared space, including dormant ones
# The choices left to some genes, by position; none if the gene's value is not a choice of the declared space.
Limits = Mapping[int, tuple[int, ...]]
DORMANT = -1
DISTRIBUTION_INDEX = 20.0  # of polynomial mutation, Deb et al. 2002
MOST_CHOICES = 1_000_000
RECENT = 256


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
        self._expressed: dict[Genome, list[bool]] = {}  # of the last genomes: a trial asks for its own many times

    def values(self, genome: Genome) -> dict[str, Any]:
        """The value of every parameter, including dormant ones."""
        return {n: c[g] for n, c, g in zip(self.names, self.choices, genome, strict=True)}

    def expressed(self, genome: Genome) -> dict[str, Any]:
        """The value of every active parameter."""
        return {n: v for (n, v), on in zip(self.values(genome).items(), self.active(genome), strict=True) if on}

    def limits(self, params: Mapping[str, Any]) -> dict[int, tuple[int, ...]]:
        """The genes that `params` fix, by position. A value that is not a choice leaves none; undeclared names do nothing."""
        places = {i: self._place(i, params[name]) for i, name in enumerate(self.names) if name in params}
        return {i: () if place is None else (place,) for i, place in places.items()}

    def within(self, rng: random.Random, genome: Genome, limits: Limits) -> Genome:
        """The genome with every gene outside its limits replaced by a random choice within them."""
        if not limits:
            return genome
        found = list(genome)
        for place, choices in limits.items():
            if choices and genome[place] not in choices:
                found[place] = choices[int(rng.random() * len(choices)) if len(choices) > 1 else 0]
        return tuple(found)

    def outside(self, genome: Genome, limits: Limits) -> bool:
        """Whether an expressed gene has a value that is not a choice, so that this is not a point of the declared space."""
        if () not in limits.values():
            return False
        return any(on and limits.get(place) == () for place, on in enumerate(self.active(genome)))

    def _place(self, gene: int, value: Any) -> int | None:
        """The index of a value among the choices of a gene, even if a multiple of a step is rounded, as in 0.1 + 0.2."""
        if not isinstance(value, Hashable):  # an enqueued trial may hold a list, which Optuna does not allow
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
        known = self._expressed.get(genome)
        if known is None:
            if len(self._expressed) >= RECENT:
                self._expressed.clear()
            asked = self._active(self.values(genome))
            known = self._expressed[genome] = [name in asked for name in self.names]
        return known

    def key(self, genome: Genome) -> Genome:
        """The expressed genes: two genomes with the same key are the same point."""
        if self._active is None:
            return genome
        return tuple(g if on else DORMANT for g, on in zip(genome, self.active(genome), strict=True))

    def violation(self, genome: Genome) -> float:
        """By how much the point violates the constraints that are known before evaluation; 0 if it does not."""
        return 0.0 if self._violation is None else self._violation(self.values(genome))

    def at_random(self, rng: random.Random) -> Genome:
        """A random genome."""
        return tuple(int(rng.random() * len(choices)) for choices in self.choices)

    def checked(self, written: object) -> Genome | None:
        """A stored genome, or None if it does not belong to this space."""
        if not isinstance(written, list) or len(written) != len(self.names):
            return None
        fits = all(0 <= gene < len(choices) for gene, choices in zip(written, self.choices, strict=True))
        return tuple(written) if fits else None

    def mutate(self, rng: random.Random, genome: Genome, rate: float) -> Genome:
        """Change each gene with probability `rate`: an ordered gene to a nearby choice, any other to any choice."""
        return tuple(self.step(rng, place, gene) if rng.random() < rate else gene for place, gene in enumerate(genome))

    def step(self, rng: random.Random, place: int, gene: int) -> int:
        """Another choice of a gene, if it has one.

        Ordered choices use the polynomial mutation of Deb and Goyal 1996 on the index, rounded away from the old index.
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
        """Every point of the space within `limits` once, with dormant genes at their first choice there."""
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
    """The indices of the declared choices that a distribution contains; none if it is of another kind."""
    if type(given) is not type(declared):
        return ()
    return tuple(place for place, choice in enumerate(choices) if contains(given, choice))


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a distribution contains a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether choices are numbers in ascending order, so that neighbours are similar."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and all(after > before for before, after in itertools.pairwise(values))
