"""A table of spike rates: those of every part at every place of a space, from which the rates of any of its networks follow.

Every branch ends in normalisation, so it adds about one unit of variance to the stream. What a part reads then depends little
on which branches came before, but on how many and of which kinds. So the rates of a part are measured once per place, on the
stream of a network that is drawn at random. If the blocks of a stage share their mixer, so do those of that network. The
weights are those of every network at that place, because they depend on the place only.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from autost_optuna import units
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain
from autost_optuna.network.form import Form
from autost_optuna.network.parts import Part
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.task import Task
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.sharing import BLOCK, Sharing
from autost_optuna.space.space import Space

if TYPE_CHECKING:
    from torch import Tensor

    from autost_optuna.proxies.reuse import InitialRates

MOST_ENTRIES = 20_000  # some minutes on 2 cores


@dataclass(frozen=True, kw_only=True, slots=True)
class TableCheck:
    """How far the energies of a table of `entries` were from measured ones: relative errors of `samples` networks.

    `kendall` is the rank correlation of both; None for fewer than three samples.
    """

    entries: int
    samples: int
    median: float
    p95: float
    largest: float
    kendall: float | None

    @property
    def in_words(self) -> str:
        """The errors in one line."""
        ranks = "" if self.kendall is None else f", Kendall's tau {self.kendall:.4f}"
        return (
            f"energies of the table differ from {units.counted(self.samples, 'measured random network')} by "
            f"{self.median:.2%} (median), {self.p95:.2%} (95 % of them) and at most {self.largest:.2%}{ranks}"
        )


class Slot(NamedTuple):
    """Where a part's rates were measured: choices of the network, branches that were added before, in all and in its stage.

    `mixer` is the kind of mixer in front of the feed-forward part of the same block, "" for all other parts.
    """

    layout: Layout
    before: int
    since: int
    mixer: str
    part: Part


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTable:
    """Rates at initialisation of the operations of every part of a space's networks.

    `entries` have one rate for each image, seed after seed, by the operation's name without the part's path.
    """

    task: Task
    entries: Mapping[Slot, Mapping[str, Sequence[float]]]

    def rates(self, architecture: Architecture) -> list[dict[str, float]]:
        """Rates of all spike-driven operations by name: one set per image, seed after seed.

        ValueError if the table's space does not have the network.
        """
        found: dict[str, Sequence[float]] = {}
        for slot, link in slots_of(layout_of(architecture), chain(architecture, self.task)):
            if slot not in self.entries:
                raise ValueError(f"{architecture.to_text()} has a part that the table of rates lacks; measure it")
            found |= {f"{link.at.path}.{name}": rates for name, rates in self.entries[slot].items()}
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def layout_of(architecture: Architecture) -> Layout:
    """The choices of a network beside its depths and blocks."""
    form = architecture.form
    kept = {name: value for name, value in form.chosen.items() if name not in ("depths", "widths")}
    widths = tuple(width for width, _ in architecture.stages)
    return Layout(architecture.embed_dim, architecture.neuron, Form(**kept), widths)


def slots_of(layout: Layout, links: Iterable[Link]) -> Iterator[tuple[Slot, Link]]:
    """Every part of a network of a layout, with the place of its rates in a table."""
    before = start = 0
    mixer = ""
    for link in links:
        start = start if link.adds else before
        yield Slot(layout, before, before - start, mixer, link.part), link
        before += link.adds
        mixer = link.part.word if link.adds and not mixer else ""


def tabulate(
    measured: "InitialRates",
    space: Space,
    seed: int = 0,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> RateTable:
    """Measure every part of a space at every place, on the streams of networks that are drawn by `seed`.

    `on_done(done, total)` is called as entries are measured. ValueError if there are more than `MOST_ENTRIES`.
    """
    from autost_optuna.proxies.rates import measuring

    check_tabulable(space)
    total = count_entries(space)
    entries: dict[Slot, dict[str, tuple[float, ...]]] = {}
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
    return RateTable(task=measured.task, entries=entries)


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


def slots_in(space: Space, task: Task) -> Iterator[Slot]:
    """The places of all rates of a space's table, in an order that depends on the space only; some come twice."""
    for layout, offered in space.layouts.every():
        letters = space.sharing.offered(layout.widths)
        for depths in offered:
            offers = [some for some, depth in zip(letters, depths, strict=True) for _ in range(depth)]
            for slot, link in slots_of(layout, chain(of_letters(layout, depths, [some[0] for some in offers]), task)):
                if link.at.block is None:
                    yield slot
                    continue
                mixers, ratios = map(dict.fromkeys, zip(*offers[link.at.block], strict=True))
                if not slot.mixer:
                    yield from (slot._replace(part=mixer) for mixer in mixers)
                    continue
                feed_forward = FEED_FORWARDS[slot.part.word]
                for word, ratio in itertools.product(dict.fromkeys(mixer.word for mixer in mixers), ratios):
                    yield slot._replace(mixer=word, part=feed_forward(mlp_ratio=ratio))


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
