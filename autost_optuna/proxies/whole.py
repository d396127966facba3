"""Whole numbers among values: spikes, and sums of spikes."""

from typing import NamedTuple

import torch
from torch import Tensor

from autost_optuna.proxies.products import MOST, PIECE, sum_of

FIRST = 4096  # values that are looked at before all others: among real ones some is hardly ever a whole number


class Whole(NamedTuple):
    """The least, the most and the sum of whole numbers from 0 to MOST."""

    least: int
    most: int
    total: float


def whole_numbers(values: Tensor) -> Whole | None:
    """What values are if all are whole numbers from 0 to MOST."""
    if not values.numel():
        return Whole(1, 0, 0.0)
    if values.is_complex() or values.layout != torch.strided:
        return None
    if values.dtype == torch.bool:
        values = values.to(torch.uint8)
    low, high = (float(one) for one in values.aminmax())
    if low < 0 or high > MOST or not (_whole(_some(values)) and _whole(values)):
        return None
    return Whole(int(low), int(high), sum_of(values))


def _some(values: Tensor) -> Tensor:
    """The first of many values, without a copy of all."""
    while values.numel() > FIRST:
        values = values[: max(1, FIRST * len(values) // values.numel())] if len(values) > 1 else values[0]
    return values


def _whole(values: Tensor) -> bool:
    """Whether values from 0 are whole numbers, of which no sum of fractions can hide one that is not."""
    if not values.is_floating_point():
        return True
    if not values.is_contiguous():
        return not values.frac().sum()
    space = values.new_empty(min(PIECE, values.numel()))  # in the processor's cache, for a third of the time
    return not any(torch.frac(piece, out=space[: len(piece)]).sum() for piece in values.view(-1).split(PIECE))
