"""Exact counts from the specification: MACs, FLOPs and parameters, each a sum over the ledger. Arithmetic only."""

import functools
from collections.abc import Iterable

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import chain, operations
from autost_optuna.network.parts import Part
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Operation
from autost_optuna.network.task import Task


def count_macs(architecture: Architecture, task: Task) -> int:
    """Multiply-accumulates of weighted sums and attention products of one inference over all time steps."""
    return sum(_counts(part, at)[0] for at, part, _ in chain(architecture, task))


def count_flops(architecture: Architecture, task: Task) -> int:
    """FLOPs of one inference over all time steps, 2 x MACs: what torch's FlopCounterMode counts on the model."""
    return 2 * count_macs(architecture, task)


def count_params(architecture: Architecture, task: Task) -> int:
    """Learnable numbers of the model: weights, biases, normalisation, and what neurons learn."""
    return sum(_counts(part, at)[1] for at, part, _ in chain(architecture, task))


@functools.lru_cache(1 << 14)
def _counts(part: Part, at: Place) -> tuple[int, int]:
    """MACs over all steps and parameters of a part at a place, which many architectures share."""
    rows = list(part.rows(at))
    return sum(row.total_macs for row in rows if isinstance(row, Operation)), sum(row.params for row in rows)


def attention_share(architectures: Iterable[Architecture], task: Task) -> float:
    """The share of attention products in the MACs of some architectures; 0 if there are none."""
    rows = [row for architecture in architectures for row in operations(architecture, task)]
    total = sum(row.total_macs for row in rows)
    return sum(row.total_macs for row in rows if not row.weighted) / total if total else 0.0
