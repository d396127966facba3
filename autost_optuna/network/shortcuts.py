"""Shortcuts in training: forms of the model's parts that compute the same numbers by a shorter way while gradients are taken.

`blocks` says what the network computes. Each form here replaces one method of one part of it, with the same parameters under
the same names, and without gradients does what the part itself does. Sums of real numbers in another order round otherwise,
so a training repeats bit for bit only with the forms that it began with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.blocks import Attention, Stem
from autost_optuna.network.linear import SpikeLinear


class ShortStem(Stem):
    """A stem whose first convolution sees a still image once: T equal images have equal currents and equal statistics."""

    def currents(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to [T*B, C/8, H, W]."""
        if self.training and torch.is_grad_enabled() and not self.events:
            return torch.cat([self.bn1(self.conv1(images))] * self.time_steps)
        return super().currents(images)


class ShortAttention(Attention):
    """Attention as q (k^T v), d x d numbers instead of N x N, where those are fewer; of spikes both are exact and equal."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[T, B, h, N, d] to [T, B, h, N, d]."""
        if self.training and torch.is_grad_enabled() and q.shape[-2] > q.shape[-1]:
            return q @ ((k.transpose(-2, -1) @ v) * 0.125)
        return super().attend(q, k, v)


class ShortLinear(SpikeLinear):
    """A linear layer as a convolution of 1x1, whose products and gradients oneDNN computes faster than those of a matrix."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        if not (torch.is_grad_enabled() and input.device.type == "cpu" and torch.backends.mkldnn.is_available()):
            return super().forward(input)
        rows = input.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(rows, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*input.shape[:-1], self.out_features)


FORMS: dict[type[nn.Module], type[nn.Module]] = {
    Stem: ShortStem,
    Attention: ShortAttention,
    SpikeLinear: ShortLinear,
}


def shorten(network: nn.Module) -> None:
    """Give each part of `network` that has a shorter form that form, in place: it only changes its class."""
    for module in network.modules():
        module.__class__ = FORMS.get(type(module), type(module))
