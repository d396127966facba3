"""QK attention, computed.

Shapes: T time steps, B images, C channels (the width), N tokens, h heads, d = C / h.
"""

from dataclasses import replace

from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm, Gate, RootGate, SpikeLinear, draw_layers, entry, exit_of
from autost_optuna.network.parts.qk import ChannelQK, TokenQK
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class _QKModule(nn.Module):
    """k masked by neurons of threshold 0.5 that count spikes of q."""

    def __init__(self, part: TokenQK | ChannelQK, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.neuron = entry(at)
        self.q = SpikeLinear(at.width, at.width, bias="q" in at.biases)
        self.q_bn = ChannelNorm(at.width)
        self.q_neuron = at.neuron.module()
        self.k = SpikeLinear(at.width, at.width, bias="k" in at.biases)
        self.k_bn = ChannelNorm(at.width)
        self.k_neuron = at.neuron.module()
        self.mask_neuron = replace(at.neuron, threshold=0.5).module()
        self.gate = Gate()
        self.proj = SpikeLinear(at.width, at.width, bias="proj" in at.biases)
        self.proj_bn = ChannelNorm(at.width)
        self.proj_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        s = self.neuron(x)
        q = self.q_neuron(self.q_bn(self.q(s)))
        k = self.k_neuron(self.k_bn(self.k(s)))
        return self.proj_neuron(self.proj_bn(self.proj(self.masked(q, k))))  # type: ignore[no-any-return]

    def masked(self, q: Tensor, k: Tensor) -> Tensor:
        """Spikes [T, B, N, C] to those of k that pass."""
        raise NotImplementedError

    def initialise(self, seed: int) -> None:
        """All three layers from one random stream; the number of heads does not change them."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: the square root of q and k, which are multiplied."""
        self.set_submodule("gate", RootGate(2))


class TokenQKModule(_QKModule):
    """The mask of a token and head: how many of its channels of q fire."""

    def masked(self, q: Tensor, k: Tensor) -> Tensor:
        """Spikes [T, B, N, C] to those of k that pass."""
        heads = (self.part.num_heads, -1)  # type: ignore[union-attr]
        mask = self.mask_neuron(q.unflatten(-1, heads).sum(-1, keepdim=True))
        return self.gate(k.unflatten(-1, heads), mask).flatten(-2)  # type: ignore[no-any-return]


class ChannelQKModule(_QKModule):
    """The mask of a channel: in how many tokens q fires."""

    def masked(self, q: Tensor, k: Tensor) -> Tensor:
        """Spikes [T, B, N, C] to those of k that pass."""
        return self.gate(k, self.mask_neuron(q.sum(-2, keepdim=True)))  # type: ignore[no-any-return]
