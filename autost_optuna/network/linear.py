"""A linear layer that reads spikes.

At initialisation its weights are whole multiples of GRID, a twentieth of their deviation. Sums of such weights over spikes
are exact in float32 in any order, so that every way to compute them gives the same bits: torch's product, even in reduced
precision on a GPU, and products of 8-bit integers (`packed.GridLinear`), which are several times faster on the CPU.
"""

import torch
from torch import Tensor, nn

STD = 0.02
GRID = 2.0**-10
LARGEST = 127  # in units of GRID, 6.2 deviations


class SpikeLinear(nn.Linear):
    """[..., C] spikes to [..., D]: torch's layer under its own name, because its weights start on the grid."""


def draw_weights(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Weights [rows, columns] at initialisation: normal with deviation 0.02, rounded to the grid.

    AutoST truncates at 2, a hundred deviations; here the grid ends at 6.2 deviations. More rows only append to the random
    stream as long as rows * columns is a multiple of 16, the width at which torch draws.
    """
    drawn = torch.empty(rows, columns).normal_(0.0, STD / GRID, generator=generator)
    return drawn.round_().clamp_(-LARGEST, LARGEST).mul_(GRID)
