"""Measure a table of rates.

Every branch ends in normalisation, so it adds about one unit of variance to the stream. What a part reads then depends little
on which branches came before, but on how many and of which kinds. So the rates of a part are measured once per place, on the
stream of a network that is drawn at random. If the blocks of a stage share their mixer, so do those of that network. The
weights are those of every network at that place, because they depend on the place only.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain, operations
from autost_optuna.network.parts import Part
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.proxies.table import RateTable, Slot, layout_of, slots_of
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.sharing import BLOCK, Sharing
from autost_optuna.space.space import Space

if TYPE_CHECKING:
    from torch import Tensor

    from autost_optuna.proxies.reuse import InitialRates

MOST_ENTRIES = 20_000  # some minutes on 2 cores
SCALED = 6  # networks of each layout that are measured to scale its rates


def tabulate(
    measured: "InitialRates",
    space: Space,
    seed: int = 0,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> RateTable:
    """Measure every part of a space at every place, on the streams of networks that are drawn by `seed`.

    The networks of a layout have much of their error in common, because their parts were measured on one stream. So some of
    them are measured as a whole, and the layout's rates are scaled to give as many accumulates, as far as these agree.

    `on_done(done, total)` is called as entries are measured. ValueError if there are more than `MOST_ENTRIES`.
    """
    from autost_optuna.proxies.rates import measuring

    check_tabulable(space)
    total = count_entries(space)
    entries: dict[Slot, dict[str, tuple[float, ...]]] = {}
    scales: dict[Layout, float] = {}
    for layout, offered in space.layouts.every():
        letters = space.sharing.offered(layout.widths)
        most = tuple(map(max, zip(*offered, strict=True)))
        walk = _Walk(measured, entries)
        for path, choices in _paths(space.sharing, letters, most, random.Random(f"{seed} {layout}")):
            for depths in sorted(offered, key=sum, reverse=True):
                blocks = [block for some, depth in zip(path, depths, strict=True) for block in some[:depth]]
                instead = [some for some, depth in zip(choices, depths, strict=True) for _ in range(depth)]
                with measuring():
                    walk.measure(of_letters(layout, depths, blocks), instead)
                on_done(min(len(entries), total), total)
        table = RateTable(task=measured.task, entries=entries)
        some = _scaling(space.sharing, layout, offered, seed)
        scales[layout] = _shrunk([_accumulates(one, measured.measure(one), table) for one in some])
    scaled = {
        slot: {name: tuple(rate * scales[slot.layout] for rate in rates) for name, rates in entry.items()}
        for slot, entry in entries.items()
    }
    return RateTable(task=measured.task, entries=scaled)


def scaling_networks(space: Space, seed: int) -> Iterator[Architecture]:
    """The networks that scale the rates of a table, which therefore tell nothing about its error."""
    for layout, offered in space.layouts.every():
        yield from _scaling(space.sharing, layout, offered, seed)


def _scaling(sharing: Sharing, layout: Layout, offered: Sequence[tuple[int, ...]], seed: int) -> Iterator[Architecture]:
    """Random networks of a layout."""
    generator = random.Random(f"{seed} scale {layout}")
    branches = sharing.branches(layout.widths)
    for _ in range(SCALED):
        depths, branch = generator.choice(offered), generator.choice(branches)
        groups = [generator.choice(stage) for stage in branch]
        blocks = [generator.choice(some) for some, depth in zip(groups, depths, strict=True) for _ in range(depth)]
        yield of_letters(layout, depths, blocks)


def _shrunk(ratios: Sequence[float]) -> float:
    """The mean of ratios, moved towards 1 by as much of its distance as their spread explains."""
    distance = fmean(ratios) - 1
    variance = stdev(ratios) ** 2 / len(ratios)
    return 1 + distance * max(0.0, 1 - variance / distance**2) if distance else 1.0


def _accumulates(architecture: Architecture, measured: Sequence[Mapping[str, float]], table: RateTable) -> float:
    """How many accumulates a network has, for each that it has by the table; 1 if it has none."""
    macs = {row.name: row.total_macs for row in operations(architecture, table.task)}
    sums = [
        math.fsum(macs[name] * rate for rates in some for name, rate in rates.items())
        for some in (measured, table.rates(architecture))
    ]
    return sums[0] / sums[1] if all(sums) else 1.0


def _paths(
    sharing: Sharing, letters: Sequence[Sequence[Letter]], depths: tuple[int, ...], generator: random.Random
) -> Iterator[tuple[Sequence[Sequence[Letter]], Sequence[Sequence[Letter]]]]:
    """Networks to measure along, as the blocks of their stages, with what is measured in place of a block of each stage.

    If the blocks of a stage share their mixer, every kind is measured behind its own kind.
    """
    if dict(sharing.units).get("mixer", BLOCK) == BLOCK:
        yield (
            [[generator.choice(some) for _ in range(depth)] for some, depth in zip(letters, depths, strict=True)],
            letters,
        )
        return
    alike = [[generator.choice(some)] * depth for some, depth in zip(letters, depths, strict=True)]
    for stage, some in enumerate(letters):
        for word in dict.fromkeys(mixer.word for mixer, _ in some):
            kind = [letter for letter in some if letter[0].word == word]
            path = [*alike[:stage], [generator.choice(kind)] * depths[stage], *alike[stage + 1 :]]
            yield path, [kind if place == stage else () for place in range(len(letters))]


class _Walk:
    """Measurements along networks of one layout, which share their first parts."""

    def __init__(self, measured: "InitialRates", entries: dict[Slot, dict[str, tuple[float, ...]]]) -> None:
        self.measured, self.entries = measured, entries
        self.streams: dict[tuple[Part, ...], list[Tensor]] = {(): list(measured.batches.values())}

    def measure(self, network: Architecture, choices: Sequence[Sequence[Letter]]) -> None:
        """Measure what each part of a network, and what could stand in its place, reads; `choices` are those of each block."""
        before: tuple[Part, ...] = ()
        kinds: dict[str, Part] = {}
        for slot, link in slots_of(layout_of(network), chain(network, self.measured.task)):
            offered = choices[link.at.block] if link.at.block is not None else ()
            if not link.adds:
                self._measure(slot, link, before, [])
            elif not slot.mixer:
                mixers = [mixer for mixer, _ in offered]
                kinds = {
                    mixer.word: mixer for mixer in [*mixers, link.part]
                }  # one of each; of its own kind, the network's
                self._measure(slot, link, before, mixers, list(kinds.values()))
            else:
                parts = [
                    FEED_FORWARDS[link.part.word](mlp_ratio=ratio) for ratio in dict.fromkeys(r for _, r in offered)
                ]
                for word, mixer in kinds.items():
                    own = mixer == before[-1]
                    self._measure(slot._replace(mixer=word), link, (*before[:-1], mixer), parts, None if own else [])
            before = (*before, link.part)

    def _measure(
        self,
        slot: Slot,
        link: Link,
        before: tuple[Part, ...],
        others: Sequence[Part],
        kept: Sequence[Part] | None = None,
    ) -> None:
        """Measure the part at a place and others in its stead, unless they are known, and keep the streams behind `kept`.

        By default this is the part itself.
        """
        kept = [link.part] if kept is None else kept
        for part in dict.fromkeys([*others, *kept]):
            ahead = (*before, part)
            if slot._replace(part=part) in self.entries and (part not in kept or ahead in self.streams):
                continue
            here, outs, seen = link._replace(part=part), [], []
            for seed, x in zip(self.measured.batches, self.streams[before], strict=True):
                out, found = self.measured.pass_through(here, x, seed)
                outs.append(x + out if link.adds else out)
                seen.append(found.rates)
            if part in kept:
                self.streams[ahead] = outs
            prefix = f"{link.at.path}."
            self.entries[slot._replace(part=part)] = {
                name.removeprefix(prefix): tuple(itertools.chain(*(rates[name] for rates in seen))) for name in seen[0]
            }


def count_entries(space: Space) -> int:
    """How many mixers and feed-forward parts at places a table of a space has."""
    total = 0
    for layout, offered in space.layouts.every():
        letters = space.sharing.offered(layout.widths)
        sizes = [
            len({mixer for mixer, _ in some})
            + len({mixer.word for mixer, _ in some}) * len({ratio for _, ratio in some})
            for some in letters
        ]
        places = {
            (stage, sum(depths[:stage]) + place, place)
            for depths in offered
            for stage, depth in enumerate(depths)
            for place in range(depth)
        }
        total += sum(sizes[stage] for stage, *_ in places)
    return total


def check_tabulable(space: Space) -> None:
    """ValueError if a table of the space takes too long to measure."""
    count = count_entries(space)
    if count > MOST_ENTRIES:
        raise ValueError(
            f"space {space.name} needs the rates of {count:,} parts at places, over the bound {MOST_ENTRIES:,}; offer fewer "
            "choices, or search it with study run"
        )
