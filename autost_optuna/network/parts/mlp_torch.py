"""The MLP of a block, computed."""

import torch
from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm, SpikeLinear, draw_weights, entry, exit_of
from autost_optuna.network.parts.mlp import MLP
from autost_optuna.network.place import Place
from autost_optuna.network.values import hidden_units
from autost_optuna.network.weights import fresh, stream


class MLPModule(nn.Module):
    """Two linear layers, each reading spikes."""

    def __init__(self, part: MLP, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        hidden = hidden_units(part.mlp_ratio, at.width)
        self.neuron = entry(at)
        self.fc1 = SpikeLinear(at.width, hidden, bias="fc1" in at.biases)
        self.fc1_bn = ChannelNorm(hidden)
        self.hidden_neuron = at.neuron.module()
        self.fc2 = SpikeLinear(hidden, at.width, bias="fc2" in at.biases)
        self.fc2_bn = ChannelNorm(at.width)
        self.out_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        hidden = self.fc1_bn(self.fc1(self.neuron(x)))
        joined = self.at.joined and hidden.shape == x.shape
        out = self.fc2_bn(self.fc2(self.hidden_neuron(x + hidden if joined else hidden)))
        return self.out_neuron(out + hidden if joined else out)  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """A hidden unit's weights do not depend on the number of units: a smaller ratio's MLP is a part of a larger one's.

        So units are drawn in whole multiples of C, where more of them only append to the random stream.
        """
        dim, hidden, block = self.at.width, self.part.hidden(self.at), self.at.block
        units = -(-hidden // dim) * dim
        fresh(self)
        with torch.no_grad():
            self.fc1.weight.copy_(draw_weights(units, dim, stream(seed, "fc1", block, dim))[:hidden])
            self.fc2.weight.copy_(draw_weights(units, dim, stream(seed, "fc2", block, dim))[:hidden].t())

    def pack(self) -> None:
        """Take the form for inference, whose spikes are bytes."""
        from autost_optuna.network.packed import as_bytes, pack_layers

        as_bytes(self.hidden_neuron)
        pack_layers(self, fc2="fc2_bn")
        if not self.at.spiking:
            as_bytes(self.neuron)
            pack_layers(self, fc1="fc1_bn")
