"""Spiking self-attention, computed.

Shapes: T time steps, B images, C channels (the width), N tokens, h heads, d = C / h.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm, CubeRoot, Product, SpikeLinear, draw_layers, entry, exit_of
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class SSAModule(nn.Module):
    """Spiking self-attention without softmax: q k^T v of spikes, scaled, drives a neuron of threshold 0.5."""

    def __init__(self, part: SSA, at: Place) -> None:
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
        if at.order == "qk":
            self.qk, self.av = Product(driver=0), Product(driver=1)
        else:
            self.kv, self.qa = Product(driver=1), Product(driver=0)
        self.out_neuron = replace(at.neuron, threshold=0.5).module()
        self.proj = SpikeLinear(at.width, at.width, bias="proj" in at.biases)
        self.proj_bn = ChannelNorm(at.width)
        self.proj_neuron = exit_of(at)

    def heads(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, h, N, d]."""
        return x.view(*x.shape[:-1], self.part.num_heads, -1).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        s = self.neuron(x)
        q = self.heads(self.q_neuron(self.q_bn(self.q(s))))
        k = self.heads(self.k_neuron(self.k_bn(self.k(s))))
        v = self.heads(self.v_neuron(self.v_bn(self.v(s))))
        out = self.attend(q, k, v).transpose(2, 3).flatten(-2)
        return self.proj_neuron(self.proj_bn(self.proj(self.out_neuron(out))))  # type: ignore[no-any-return]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Spikes [T, B, h, N, d] to (q k^T) v of that shape, scaled, or q (k^T v), which is equal."""
        if self.at.order == "kv":
            return self.qa(q, self.kv(k.transpose(-2, -1), v) * self.at.scale)  # type: ignore[no-any-return]
        return self.av(self.qk(q, k.transpose(-2, -1)) * self.at.scale, v)  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """All four layers from one random stream; the number of heads does not change them."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: a cube root replaces the neuron after attention, because q k^T v is a product of three signals.

        Otherwise its flow would grow as a power of 3^depth, and q, k and v would each count as much as all layers in series.
        """
        self.set_submodule("out_neuron", CubeRoot())

    @property
    def short(self) -> type[nn.Module]:
        """The form that is faster while gradients are recorded."""
        return ShortSSA

    def pack(self) -> None:
        """Take the form for inference, whose input spikes are bytes."""
        from autost_optuna.network.packed import as_bytes, pack_layers

        self.__class__ = PackedSSA
        as_bytes(self.out_neuron)
        pack_layers(self, proj="proj_bn")
        if not self.at.spiking:
            as_bytes(self.neuron)
            pack_layers(self, q="q_bn", k="k_bn", v="v_bn")


class ShortSSA(SSAModule):
    """Attention as q (k^T v) where its d x d values are fewer than N x N; for spikes both orders are exact and equal."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[T, B, h, N, d] to [T, B, h, N, d]."""
        if self.training and torch.is_grad_enabled() and q.shape[-2] > q.shape[-1]:
            return q @ ((k.transpose(-2, -1) @ v) * self.at.scale)
        return super().attend(q, k, v)


class PackedSSA(SSAModule):
    """Attention as q (k^T v), as above, with the products' own modules, whose spikes are counted."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[T, B, h, N, d] to [T, B, h, N, d]."""
        if self.at.order == "qk" and q.shape[-2] > q.shape[-1]:
            return self.qk(q, self.av(k.transpose(-2, -1), v) * self.at.scale)  # type: ignore[no-any-return]
        return super().attend(q, k, v)
