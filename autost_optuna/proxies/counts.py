"""Spikes in a layer's input, counted per image."""

import math

import torch
from torch import Tensor, nn

from autost_optuna.network.packed import GridConv, PackedConv


def shares_of(module: nn.Module, spikes: Tensor, images: int) -> Tensor:
    """The mean [images] of the `spikes` that `module` reads, for each image: the share of ones, if there are no others."""
    steps = spikes.unflatten(0, (-1, images)) if isinstance(module, nn.Conv2d | PackedConv | GridConv) else spikes
    # Sums up to 2^24 are exact in float32; float64 adds the sums up.
    counts: Tensor = _count_bytes(steps) if spikes.dtype == torch.uint8 else steps.sum(tuple(range(2, steps.dim())))
    return counts.sum(0, dtype=torch.float64) * (images / spikes.numel())


def _count_bytes(steps: Tensor) -> Tensor:
    """The sum [T, B] of bytes [T, B, ...] up to 15. Adds eight at a time, because torch adds bytes one by one."""
    rows = (steps if steps.is_contiguous() else steps.movedim(2, -1)).flatten(2)
    if rows.shape[2] % 8:
        return rows.sum(2)
    eights = rows.view(torch.int64)
    each = math.gcd(eights.shape[2], 16)  # whose sum a byte can hold
    sums: Tensor = eights.unflatten(2, (-1, each)).sum(3)
    return sums.view(torch.uint8).sum(2)
