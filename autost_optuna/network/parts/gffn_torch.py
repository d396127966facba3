"""The feed-forward part with a grouped convolution, computed."""

import math

from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm, SpikeConv, SpikeLinear, draw_layers, entry, exit_of
from autost_optuna.network.parts.gffn import GroupedFFN
from autost_optuna.network.place import Place
from autost_optuna.network.values import hidden_units
from autost_optuna.network.weights import fresh, stream


class GroupedFFNModule(nn.Module):
    """fc1, a convolution in groups that is added to its output, and fc2, each reading spikes."""

    def __init__(self, part: GroupedFFN, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        hidden = hidden_units(part.mlp_ratio, at.width)
        groups = hidden // math.gcd(hidden, at.group)
        self.neuron = entry(at)
        self.fc1 = SpikeLinear(at.width, hidden, bias="fc1" in at.biases)
        self.fc1_bn = ChannelNorm(hidden)
        self.hidden_neuron = at.neuron.module()
        self.grouped = SpikeConv(hidden, hidden, 3, padding=1, groups=groups, bias=False)
        self.grouped_bn = nn.BatchNorm2d(hidden)
        self.grouped_neuron = at.neuron.module()
        self.fc2 = SpikeLinear(hidden, at.width, bias="fc2" in at.biases)
        self.fc2_bn = ChannelNorm(at.width)
        self.out_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        hidden = self.fc1_bn(self.fc1(self.neuron(x)))
        spikes = self.hidden_neuron(hidden)
        grid = spikes.flatten(0, 1).transpose(1, 2).unflatten(2, (self.at.side, self.at.side))
        more = self.grouped_bn(self.grouped(grid)).flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])
        read = spikes + self.grouped_neuron(more) if self.at.spiking else self.grouped_neuron(hidden + more)
        return self.out_neuron(self.fc2_bn(self.fc2(read)))  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """All layers from one random stream."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))
