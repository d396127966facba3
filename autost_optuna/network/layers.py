"""Layers that parts share: a linear layer that reads spikes, normalisation of the last axis, a product, a 3x3 convolution.

At initialisation a linear layer's weights are whole multiples of GRID, a twentieth of their deviation. Sums of such weights
over spikes are exact in float32 in any order, so that every way to compute them gives the same bits: torch's product, even in
reduced precision on a GPU, and products of 8-bit integers (`packed.GridLinear`), which are several times faster on the CPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STD = 0.02
GRID = 2.0**-10
LARGEST = 127  # in units of GRID, 6.2 deviations


class SpikeLinear(nn.Linear):
    """[..., C] spikes to [..., D]: torch's layer. Its name marks what reads spikes."""

    @property
    def short(self) -> type[nn.Module]:
        """The form that is faster while gradients are recorded."""
        return ShortLinear


class ShortLinear(SpikeLinear):
    """A linear layer as a 1x1 convolution: oneDNN computes its products and gradients faster than those of a matrix."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        if not (torch.is_grad_enabled() and input.device.type == "cpu" and torch.backends.mkldnn.is_available()):
            return super().forward(input)
        rows = input.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(rows, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*input.shape[:-1], self.out_features)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation over all but the last axis: [..., C] to [..., C]."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return super().forward(input.flatten(0, -2)).view_as(input)


class Product(nn.Module):
    """A matrix product as a module, so that the ledger can name it and hooks can see its spikes.

    `driver` is the position (0 or 1) of the input whose spikes drive it.
    """

    def __init__(self, driver: int) -> None:
        super().__init__()
        self.driver = driver

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """[..., n, m] and [..., m, p] to [..., n, p]."""
        return left @ right


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, without bias because normalisation follows."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)


def draw_weights(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Weights [rows, columns] at initialisation: normal with deviation 0.02, rounded to the grid.

    AutoST truncates at 2, a hundred deviations; here the grid ends at 6.2 deviations. More rows only append to the random
    stream as long as rows * columns is a multiple of 16, the width at which torch draws.
    """
    drawn = torch.empty(rows, columns).normal_(0.0, STD / GRID, generator=generator)
    return drawn.round_().clamp_(-LARGEST, LARGEST).mul_(GRID)
