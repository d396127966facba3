"""The chain: the one walk over an architecture's parts, each with its place, and the ledger that it adds up to."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.parts import Part
from autost_optuna.network.parts.embedding import entrance
from autost_optuna.network.parts.head import head_called
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Operation, Population, Row
from autost_optuna.network.styles import STYLES
from autost_optuna.network.task import Task


class Link(NamedTuple):
    """A part at its place. The output of a part that `adds` is added to the stream that it reads."""

    at: Place
    part: Part
    adds: bool


def chain(architecture: Architecture, task: Task) -> Iterator[Link]:
    """The parts of a network, in the order of the signal. ValueError if a part cannot stand at its place."""
    form = architecture.form
    at = Place(
        width=task.channels,
        side=task.image_size,
        steps=form.time_steps or task.time_steps,
        still=not task.events,
        neuron=architecture.neuron,
        stem=form.stem,
        spiking=form.residual == "spike",
    )
    for stage, block, part in _parts(architecture, task):
        here = at.entering(block, "stem" if stage == "stem" else part.name, stage)
        yield Link(here, part, block is not None)
        at = part.after(here)


def _parts(architecture: Architecture, task: Task) -> Iterator[tuple[str, int | None, Part]]:
    """Each part with the stage that it is, or with the index of its block."""
    form, pooling = architecture.form, architecture.form.pooling or task.pooling
    blocks = enumerate(zip(architecture.mixers, architecture.mlps, strict=True))
    for number, (width, depth) in enumerate(architecture.stages):
        yield f"embedding{number + 1}" if number else "stem", None, entrance(form, width, number, pooling)
        for _ in range(depth):
            block, parts = next(blocks)
            for part in parts:
                yield "", block, part
    yield "head", None, head_called(STYLES[form.stem].head, task.num_classes)


@functools.lru_cache(1 << 14)
def rows_of(part: Part, at: Place) -> tuple[Row, ...]:
    """The rows of a part at a place, which many architectures share."""
    return tuple(part.rows(at))


def ledger(architecture: Architecture, task: Task) -> list[Row]:
    """All rows of one inference of one image, in the order of the signal."""
    return [row for at, part, _ in chain(architecture, task) for row in rows_of(part, at)]


def operations_and_populations(architecture: Architecture, task: Task) -> tuple[list[Operation], list[Population]]:
    """The ledger's operations, and its layers of neurons, from one walk."""
    rows = ledger(architecture, task)
    return [r for r in rows if isinstance(r, Operation)], [r for r in rows if isinstance(r, Population)]


def operations(architecture: Architecture, task: Task) -> list[Operation]:
    """The ledger's operations."""
    return operations_and_populations(architecture, task)[0]


def populations(architecture: Architecture, task: Task) -> list[Population]:
    """The ledger's layers of neurons."""
    return operations_and_populations(architecture, task)[1]
