"""Layers that parts share: layers that read spikes, normalisation of the last axis, products, and a branch's ends.

At initialisation a linear layer's weights are whole multiples of GRID, a twentieth of their deviation, and a convolution's
those of `grid_of`. Sums of such weights over spikes are exact in float32 in any order, so that every way to compute them gives
the same bits: torch's product, even in reduced precision on a GPU, and products of 8-bit integers (`packed.GridLinear` and
`GridConv`), which are several times faster on the CPU.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.place import Place

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


class SpikeConv(nn.Conv2d):
    """torch's convolution, of spikes or of the images in front of them. Its name marks what is drawn on a grid."""


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


class Gate(nn.Module):
    """A product of spikes, element by element, as a module, so that the proof sees a source of spikes. It counts no MACs."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Spikes of shapes that broadcast to spikes."""
        return left * right


class CubeRoot(nn.Module):
    """The cube root of x, whose elements are all positive."""

    def forward(self, x: Tensor) -> Tensor:
        """[...] to [...]."""
        return x.pow(1 / 3)


class First(nn.Module):
    """The first of its inputs."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        """[...] to [...]."""
        return x


class RootGate(Gate):
    """The root of a product of `signals` signals, whose elements are all positive, so that it grows as one signal does."""

    def __init__(self, signals: int) -> None:
        super().__init__()
        self.signals = signals

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """[...] and [...] to their common shape."""
        return (left * right).pow(1 / self.signals)


class RateNorm(nn.modules.batchnorm._BatchNorm):
    """Divides sums over spikes by sqrt(rate n), with the rate of those spikes per head and the number n of summands.

    SpikingResformer: Shi, Hao, Yu, CVPR 2024, arXiv 2403.14302. The rate is a running mean of momentum 0.001 that starts with
    the first batch's. With batch statistics it is that of the batch, as in normalisation. A head that has seen no spikes
    passes 0.
    """

    def __init__(self, heads: int) -> None:
        super().__init__(heads, momentum=0.001, affine=False)

    def forward(self, sums: Tensor, spikes: Tensor, summands: int) -> Tensor:  # type: ignore[override]
        """Sums [T, B, h, ...] over `summands` of the spikes [T, B, h, ...], scaled."""
        rate = self.running_mean
        if self.training:
            seen = spikes.detach().mean((0, 1, 3, 4))
            rate = self.track(seen) if self.track_running_stats else seen
        assert rate is not None
        scale = torch.where(rate > 0, (rate * summands).rsqrt(), 0.0)
        return sums * scale.view(-1, 1, 1)

    def track(self, seen: Tensor) -> Tensor:
        """The running mean [h] with one more batch."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        self.num_batches_tracked.add_(1)
        count = int(self.num_batches_tracked)
        weight = 1.0 if count == 1 else self.momentum if self.momentum is not None else 1 / count
        self.running_mean.lerp_(seen.to(self.running_mean.dtype), weight)
        return self.running_mean.clone()


def entry(at: Place) -> nn.Module:
    """The neurons through which a branch reads a stream of currents; one of spikes is read as it is."""
    neurons: nn.Module = nn.Identity() if at.spiking else at.neuron.module()
    return neurons


def exit_of(at: Place) -> nn.Module:
    """The neurons that end a branch whose sum is a stream of spikes."""
    neurons: nn.Module = at.neuron.module() if at.spiking else nn.Identity()
    return neurons


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


def draw_layers(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all layers in their order: linear ones by `draw_weights`, convolutions as torch does by default.

    Those of a `SpikeConv` are then rounded to its grid.
    """
    for layer in module.modules():
        if isinstance(layer, SpikeLinear):
            layer.weight.data = draw_weights(layer.out_features, layer.in_features, generator)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if isinstance(layer, SpikeConv):
                grid = grid_of(layer)
                layer.weight.data.div_(grid).round_().mul_(grid)


def grid_of(layer: nn.Conv2d) -> float:
    """The power of two of which the weights of a convolution are up to LARGEST multiples: their bound is 1 / sqrt(fan-in)."""
    return 2.0 ** math.ceil(-math.log2(LARGEST * math.sqrt(layer.weight[0].numel())))
