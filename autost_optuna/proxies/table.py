"""A table of spike rates: those of every part at every place of a space, from which the rates of any of its networks follow."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autost_optuna import units
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain
from autost_optuna.network.form import Form
from autost_optuna.network.parts import Part
from autost_optuna.network.parts.kinds import FEED_FORWARDS
from autost_optuna.network.task import Task
from autost_optuna.space.alphabet import of_letters
from autost_optuna.space.layout import Layout
from autost_optuna.space.space import Space


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
