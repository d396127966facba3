"""Sharing: which blocks of a network have one choice in common, and what follows for counting, listing and naming choices."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from autost_optuna.network.architecture import Architecture
from autost_optuna.space.alphabet import Alphabet, Letter
from autost_optuna.space.layout import Layout

BLOCK, STAGE, NETWORK = "block", "stage", "network"


class Sharing(NamedTuple):
    """An alphabet of blocks, chosen for every `unit`: a block, a stage or the network."""

    alphabet: Alphabet
    unit: str

    def common(self, widths: tuple[int, ...]) -> int:
        """The width whose divisors are those of all stages."""
        return math.gcd(*widths)

    def offered(self, widths: tuple[int, ...]) -> list[tuple[Letter, ...]]:
        """The blocks among which those of every stage, or of the network, are chosen."""
        found = (self.common(widths),) if self.unit == NETWORK else widths
        return [self.alphabet.letters(width) for width in found]

    def counts(self, depths: tuple[int, ...]) -> tuple[int, ...]:
        """How many blocks are chosen among each of these."""
        return depths if self.unit == BLOCK else (1,) if self.unit == NETWORK else (1,) * len(depths)

    def spread(self, chosen: Sequence[Letter], depths: tuple[int, ...]) -> Sequence[Letter]:
        """The letter of every block from those that are chosen."""
        if self.unit == BLOCK:
            return chosen
        repeated = (sum(depths),) if self.unit == NETWORK else depths
        return [letter for letter, count in zip(chosen, repeated, strict=True) for _ in range(count)]

    def size(self, layout: Layout, depths: tuple[int, ...]) -> int:
        """The number of networks of a layout with these depths."""
        offered = map(len, self.offered(layout.widths))
        return math.prod(number**count for number, count in zip(offered, self.counts(depths), strict=True))

    def every(self, layout: Layout, depths: tuple[int, ...]) -> Iterator[Sequence[Letter]]:
        """The blocks of each of these networks."""
        groups = zip(self.offered(layout.widths), self.counts(depths), strict=True)
        for chosen in itertools.product(*(itertools.product(letters, repeat=count) for letters, count in groups)):
            yield self.spread(list(itertools.chain(*chosen)), depths)

    def holds(self, architecture: Architecture) -> bool:
        """Whether the blocks of an architecture are offered, and shared as they must be."""
        widths, depths = zip(*architecture.stages, strict=True)
        blocks = iter(zip(architecture.mixers, architecture.mlp_ratio, strict=True))
        stages = [set(itertools.islice(blocks, depth)) for depth in depths]
        groups = [set().union(*stages)] if self.unit == NETWORK else stages
        offered = self.offered(widths)
        return all(map(set.issuperset, map(set, offered), groups)) and (
            self.unit == BLOCK or all(len(letters) == 1 for letters in groups)
        )

    def firsts(self, depths: tuple[int, ...]) -> Sequence[int]:
        """The first of the blocks that share each choice."""
        if self.unit == BLOCK:
            return range(sum(depths))
        return [0] if self.unit == NETWORK else list(itertools.accumulate((0, *depths[:-1])))

    def suffixes(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> list[tuple[str, int]]:
        """What follows the names of parameters of blocks, and the width of the blocks, for each that is chosen."""
        if self.unit == NETWORK:
            return [("", self.common(widths))]
        if self.unit == STAGE:
            return [(f"_s{stage}", width) for stage, width in enumerate(widths, 1)]
        if len(depths) == 1:
            return [(f"_{block:02d}", widths[0]) for block in range(1, depths[0] + 1)]
        stages = enumerate(zip(widths, depths, strict=True), 1)
        return [(f"_s{s}_{block:02d}", width) for s, (width, depth) in stages for block in range(1, depth + 1)]
