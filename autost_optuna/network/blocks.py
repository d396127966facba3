"""Stem, attention and MLP of AutoST's spiking transformer. The residual stream is real-valued; spikes read it.

This page shows what the network computes. Other modules compute the same numbers faster with variants of these parts:
`shortcuts` in training, `packed` in inference.

Shapes: T time steps, B images, C channels (embed_dim), H W pixels, N tokens, h heads, d = C / h.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.linear import SpikeLinear
from autost_optuna.network.neuron import PLIF
from autost_optuna.network.task import Task


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


class Stem(nn.Module):
    """Images to tokens: four convolutions, the first three followed by neurons, plus a position convolution.

    The fourth convolution has no neuron: the position convolution reads real values, and the sum is the residual stream.
    """

    def __init__(self, embed_dim: int, task: Task) -> None:
        super().__init__()
        eighth, quarter, half = embed_dim // 8, embed_dim // 4, embed_dim // 2
        self.time_steps = task.time_steps
        self.events = task.events
        self.pooling = tuple(flag == "1" for flag in task.pooling)
        self.conv1 = _conv(task.channels, eighth)
        self.bn1 = nn.BatchNorm2d(eighth)
        self.neuron1 = PLIF()
        self.conv2 = _conv(eighth, quarter)
        self.bn2 = nn.BatchNorm2d(quarter)
        self.neuron2 = PLIF()
        self.conv3 = _conv(quarter, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.neuron3 = PLIF()
        self.conv4 = _conv(half, embed_dim)
        self.bn4 = nn.BatchNorm2d(embed_dim)
        self.position = _conv(embed_dim, embed_dim)
        self.position_bn = nn.BatchNorm2d(embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to [T, B, N, C]; the image is shown at each of the T steps, without a spike encoder.

        For an events task, [B, T, c, H, W] to [T, B, N, C]: each step reads its own frame.
        """
        x = self.pool(0, self._fire(self.neuron1, self.currents(images)))
        x = self.pool(1, self._fire(self.neuron2, self.bn2(self.conv2(x))))
        x = self.pool(2, self._fire(self.neuron3, self.bn3(self.conv3(x))))
        x = self.pool(3, self.bn4(self.conv4(x)))
        x = x + self.position_bn(self.position(x))
        return self._steps(x.flatten(2).transpose(1, 2)).contiguous()

    def currents(self, images: Tensor) -> Tensor:
        """Images, or recordings, to the currents [T*B, C/8, H, W] of the first neurons."""
        frames = images.transpose(0, 1).flatten(0, 1) if self.events else images.repeat(self.time_steps, 1, 1, 1)
        return self.bn1(self.conv1(frames))  # type: ignore[no-any-return]

    def pool(self, stage: int, x: Tensor) -> Tensor:
        """[T*B, C, H, W] to the same shape, or to half of H and W if the task pools after this convolution."""
        return F.max_pool2d(x, 3, stride=2, padding=1) if self.pooling[stage] else x

    def _fire(self, neuron: PLIF, x: Tensor) -> Tensor:
        """[T*B, ...] currents to [T*B, ...] spikes."""
        spikes: Tensor = neuron(self._steps(x)).flatten(0, 1)
        return spikes

    def _steps(self, x: Tensor) -> Tensor:
        """[T*B, ...] to [T, B, ...]."""
        return x.view(self.time_steps, -1, *x.shape[1:])


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)


class Attention(nn.Module):
    """Spiking self-attention without softmax: q k^T v of spikes, scaled by 1/8, drives a neuron of threshold 0.5."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.neuron = PLIF()
        self.q = SpikeLinear(embed_dim, embed_dim)
        self.q_bn = ChannelNorm(embed_dim)
        self.q_neuron = PLIF()
        self.k = SpikeLinear(embed_dim, embed_dim)
        self.k_bn = ChannelNorm(embed_dim)
        self.k_neuron = PLIF()
        self.v = SpikeLinear(embed_dim, embed_dim)
        self.v_bn = ChannelNorm(embed_dim)
        self.v_neuron = PLIF()
        self.qk = Product(driver=0)
        self.av = Product(driver=1)
        self.out_neuron = PLIF(v_threshold=0.5)
        self.proj = SpikeLinear(embed_dim, embed_dim)
        self.proj_bn = ChannelNorm(embed_dim)

    def heads(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, h, N, d]."""
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        s = self.neuron(x)
        q = self.heads(self.q_neuron(self.q_bn(self.q(s))))
        k = self.heads(self.k_neuron(self.k_bn(self.k(s))))
        v = self.heads(self.v_neuron(self.v_bn(self.v(s))))
        out = self.attend(q, k, v).transpose(2, 3).flatten(-2)
        return self.proj_bn(self.proj(self.out_neuron(out)))  # type: ignore[no-any-return]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Spikes [T, B, h, N, d] to (q k^T / 8) v of that shape."""
        return self.av(self.qk(q, k.transpose(-2, -1)) * 0.125, v)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two linear layers, each reading spikes."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.neuron = PLIF()
        self.fc1 = SpikeLinear(embed_dim, hidden_dim)
        self.fc1_bn = ChannelNorm(hidden_dim)
        self.hidden_neuron = PLIF()
        self.fc2 = SpikeLinear(hidden_dim, embed_dim)
        self.fc2_bn = ChannelNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        hidden = self.hidden_neuron(self.fc1_bn(self.fc1(self.neuron(x))))
        return self.fc2_bn(self.fc2(hidden))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One transformer block: attention, then the MLP, each added to the residual stream."""

    def __init__(self, embed_dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.attention = Attention(embed_dim, num_heads)
        self.mlp = MLP(embed_dim, hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        x = x + self.attention(x)
        x = x + self.mlp(x)
        return x
