"""Spike-driven self-attention, computed."""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm, Gate, RootGate, SpikeLinear, draw_layers, entry, exit_of
from autost_optuna.network.parts.sdsa import SDSA, PooledSDSA
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class SDSAModule(nn.Module):
    """q masked by neurons of threshold 0.5 that read, per channel, how many tokens have both k and v."""

    def __init__(self, part: SDSA, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.neuron = entry(at)
        self.q = SpikeLinear(at.width, at.width, bias="q" in at.biases)
        self.q_bn = ChannelNorm(at.width)
        self.q_neuron = at.neuron.module()
        self.k = SpikeLinear(at.width, at.width, bias="k" in at.biases)
        self.k_bn = ChannelNorm(at.width)
        self.k_neuron = at.neuron.module()
        self.v = SpikeLinear(at.width, at.width, bias="v" in at.biases)
        self.v_bn = ChannelNorm(at.width)
        self.v_neuron = at.neuron.module()
        self.both = Gate()
        self.mask_neuron = replace(at.neuron, threshold=0.5).module()
        self.gate = Gate()
        self.proj = SpikeLinear(at.width, at.width, bias="proj" in at.biases)
        self.proj_bn = ChannelNorm(at.width)
        self.proj_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        s = self.neuron(x)
        q = self.q_neuron(self.q_bn(self.q(s)))
        k = self.spread(self.k_neuron(self.k_bn(self.k(s))))
        v = self.spread(self.v_neuron(self.v_bn(self.v(s))))
        mask = self.mask_neuron(self.smear(self.both(k, v)).sum(-2, keepdim=True))
        out = self.proj_bn(self.proj(self.smear(self.gate(q, mask))))
        return self.proj_neuron(out)  # type: ignore[no-any-return]

    def spread(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, N, C], as they are."""
        return spikes

    def smear(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, N, C], as they are."""
        return spikes

    def initialise(self, seed: int) -> None:
        """All four layers from one random stream."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: the cube root of q, k and v, which are multiplied."""
        self.set_submodule("gate", RootGate(3))


class PooledSDSAModule(SDSAModule):
    """The same, with spikes that spread to their neighbours."""

    part: PooledSDSA

    def spread(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, N, C] to their maxima over 3x3 tokens of the grid."""
        grid = spikes.flatten(0, 1).transpose(1, 2).unflatten(2, (self.at.side, self.at.side))
        return F.max_pool2d(grid, 3, stride=1, padding=1).flatten(2).transpose(1, 2).view_as(spikes)

    def smear(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, N, C] to their maxima over 3 tokens in their order and 3 channels of a head."""
        heads = spikes.flatten(0, 1).unflatten(2, (self.part.num_heads, -1)).transpose(1, 2)
        return F.max_pool2d(heads, 3, stride=1, padding=1).transpose(1, 2).flatten(2).view_as(spikes)
