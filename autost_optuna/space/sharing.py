"""Sharing: which blocks of a network have a choice in common, and what follows for counting, listing and naming choices."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.parts import genes_of
from autost_optuna.network.parts.kinds import MIXERS
from autost_optuna.space.alphabet import Alphabet, Letter, Where
from autost_optuna.space.layout import Layout

BLOCK, STAGE, NETWORK = UNITS = ("block", "stage", "network")
MIXED = "mixed"

Units = tuple[tuple[str, str], ...]  # what shares each choice: ("mixer", "stage"), ("mlp_ratio", "block")
Shared = str | Mapping[str, str]
# The blocks that a stage may have together, and those of every stage of a network: blocks of one group go with one another.
Groups = tuple[tuple[Letter, ...], ...]
Branch = tuple[Groups, ...]


def units_of(alphabet: Alphabet, shared: Shared) -> Units:
    """The unit of every choice of a block. Genes that are not named follow their mixer; anything else is chosen per block.

    ValueError names a choice or a unit that is unknown, and a gene that networks would have to choose but not use.
    """
    names = alphabet.names
    if isinstance(shared, str):
        _check_unit(shared)
        return tuple((name, shared) for name in names)
    if not isinstance(shared, Mapping):
        raise ValueError(
            f'shared {shared!r} is neither one of {", ".join(UNITS)} nor a table such as {{mixer = "stage"}}'
        )
    for name, unit in shared.items():
        if name not in names:
            raise ValueError(f"shared: {name!r} is no choice of a block here; name some of {', '.join(names)}")
        _check_unit(unit)
    mixer = shared.get("mixer", BLOCK)
    units = {name: shared.get(name, mixer if name in alphabet.all_genes else BLOCK) for name in names}
    for gene in alphabet.all_genes:
        lacking = [word for word in alphabet.mixer if gene not in genes_of(MIXERS[word])]
        if lacking and UNITS.index(units[gene]) > UNITS.index(mixer):
            raise ValueError(
                f"shared: {gene} per {units[gene]} needs mixers that all have it, and {lacking[0]} has none; share the mixer "
                f"per {units[gene]} too, or choose {gene} per {mixer}"
            )
    return tuple(units.items())


def simplified(alphabet: Alphabet, shared: Shared) -> Shared:
    """The shortest form of `shared`: one unit for all choices, or the unit of each. ValueError as in `units_of`."""
    units = units_of(alphabet, shared)
    found = {unit for _, unit in units}
    return found.pop() if len(found) == 1 else dict(units)


def _check_unit(unit: object) -> None:
    if unit not in UNITS:
        raise ValueError(f"shared {unit!r} is unknown; use {', '.join(UNITS[:-1])} or {UNITS[-1]}")


class Sharing(NamedTuple):
    """An alphabet of blocks, and the unit that shares each choice of it: a block, a stage or the network."""

    alphabet: Alphabet
    units: Units

    @property
    def unit(self) -> str:
        """The unit of all choices; "mixed" if they differ."""
        found = {unit for _, unit in self.units}
        return found.pop() if len(found) == 1 else MIXED

    def branches(self, widths: tuple[int, ...]) -> tuple[Branch, ...]:
        """One branch for each choice of what the network shares. No two branches, and no two groups, give the same blocks."""
        return _branches(self.alphabet, self.units, widths)

    def offered(self, widths: tuple[int, ...]) -> tuple[tuple[Letter, ...], ...]:
        """All blocks that some network may have in every stage."""
        return _offered(self.alphabet, self.units, widths)

    def size(self, layout: Layout, depths: tuple[int, ...]) -> int:
        """The number of networks of a layout with these depths."""
        return sum(
            math.prod(sum(len(group) ** depth for group in stage) for stage, depth in zip(branch, depths, strict=True))
            for branch in self.branches(layout.widths)
        )

    def every(self, layout: Layout, depths: tuple[int, ...]) -> Iterator[Sequence[Letter]]:
        """The blocks of each of these networks."""
        for branch in self.branches(layout.widths):
            yield from _words(branch, depths)

    def holds(self, architecture: Architecture) -> bool:
        """Whether the blocks of an architecture are offered, and shared as they must be."""
        widths, depths = zip(*architecture.stages, strict=True)
        blocks = iter(zip(architecture.mixers, architecture.mlp_ratio, strict=True))
        stages = [list(itertools.islice(blocks, depth)) for depth in depths]
        groups = {BLOCK: [], STAGE: stages, NETWORK: [list(itertools.chain(*stages))]}
        return all(map(set.issuperset, map(set, self.offered(widths)), stages)) and all(
            len({_value(name, letter) for letter in group}) == 1 for name, unit in self.units for group in groups[unit]
        )

    def asked(
        self, widths: tuple[int, ...], depths: tuple[int, ...], values: Mapping[str, Any]
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The parameters of all blocks and their choices, one after another; `values` has those that came before."""
        known: set[str] = set()
        for _, where in _spots(self.units, widths, depths):
            for name, choices in self.alphabet.asked(where, values):
                if name not in known:
                    known.add(name)
                    yield name, choices

    def letters(self, widths: tuple[int, ...], depths: tuple[int, ...], values: Mapping[str, Any]) -> list[Letter]:
        """The blocks with these parameters, by name."""
        spots = _spots(self.units, widths, depths)
        ends = [*(first for first, _ in spots[1:]), sum(depths)]
        chosen = [
            [self.alphabet.letter(where, values)] * (end - first)
            for (first, where), end in zip(spots, ends, strict=True)
        ]
        return list(itertools.chain(*chosen))

    def values(self, widths: tuple[int, ...], depths: tuple[int, ...], letters: Sequence[Letter]) -> dict[str, Any]:
        """The parameters of these blocks, by name."""
        found: dict[str, Any] = {}
        for first, where in _spots(self.units, widths, depths):
            found |= self.alphabet.values(where, letters[first])
        return found

    def places(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> list[Where]:
        """The places of the choices of every block that has a parameter of its own."""
        return [where for _, where in _spots(self.units, widths, depths)]


def _value(name: str, letter: Letter) -> Any:
    """The choice called `name` of a block; None if its mixer has none."""
    mixer, ratio = letter
    return ratio if name == "mlp_ratio" else mixer.word if name == "mixer" else getattr(mixer, name, None)


def _words(branch: Branch, depths: tuple[int, ...]) -> Iterator[tuple[Letter, ...]]:
    if not branch:
        yield ()
        return
    for group in branch[0]:
        for word in itertools.product(group, repeat=depths[0]):
            yield from (word + others for others in _words(branch[1:], depths[1:]))


@functools.lru_cache(256)
def _branches(alphabet: Alphabet, units: Units, widths: tuple[int, ...]) -> tuple[Branch, ...]:
    shared = {unit: [name for name, its in units if its == unit] for unit in UNITS}
    return tuple(
        tuple(
            tuple(stage.letters(width) for stage in network.with_one_choice(shared[STAGE], width)) for width in widths
        )
        for network in alphabet.with_one_choice(shared[NETWORK], math.gcd(*widths))
    )


@functools.lru_cache(256)
def _offered(alphabet: Alphabet, units: Units, widths: tuple[int, ...]) -> tuple[tuple[Letter, ...], ...]:
    stages = zip(*_branches(alphabet, units, widths), strict=True)
    return tuple(tuple(dict.fromkeys(itertools.chain(*itertools.chain(*stage)))) for stage in stages)


@functools.lru_cache(1 << 12)
def _spots(units: Units, widths: tuple[int, ...], depths: tuple[int, ...]) -> Sequence[tuple[int, Where]]:
    """The blocks that are the first with some choice, and where each choice is: its suffix and width."""
    found, block = [], 0
    some = {unit for _, unit in units}
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for number in range(1, depth + 1):
            if BLOCK in some or (number == 1 and STAGE in some) or block == 0:
                suffix = f"_{number:02d}" if len(widths) == 1 else f"_s{stage}_{number:02d}"
                places = {BLOCK: (suffix, width), STAGE: (f"_s{stage}", width), NETWORK: ("", math.gcd(*widths))}
                found.append((block, {name: places[unit] for name, unit in units}))
            block += 1
    return found
