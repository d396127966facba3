"""Shortcuts in training: variants of the model's parts that compute the same values faster while gradients are recorded.

`blocks` says what the network computes. Each variant here replaces one method of one part. It has the same parameters under
the same names, and without gradients it does what the part itself does. Sums of real numbers round differently in another
order, so a training repeats bit for bit only with the variants that it began with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.blocks import Attention, Stem
from autost_optuna.network.linear import SpikeLinear


class ShortStem(Stem):
    """A stem whose first convolution processes a still image once: T equal images have equal currents and statistics."""

    def currents(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to [T*B, C/8, H, W]."""
        if self.training and torch.is_grad_enabled() and not self.events:
            return torch.cat([self.bn1(self.conv1(images))] * self.time_steps)
        return super().currents(images)


class ShortAttention(Attention):
    """Attention as q (k^T v) where its d x d values are fewer than N x N; for spikes both orders are exact and equal."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[T, B, h, N, d] to [T, B, h, N, d]."""
        if self.training and torch.is_grad_enabled() and q.shape[-2] > q.shape[-1]:
            return q @ ((k.transpose(-2, -1) @ v) * 0.125)
        return super().attend(q, k, v)


class ShortLinear(SpikeLinear):
    """A linear layer as a 1x1 convolution: oneDNN computes its products and gradients faster than those of a matrix."""

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
    """Replace each part of `network` by its faster variant, if it has one: only its class changes, in place."""
    for module in network.modules():
        module.__class__ = FORMS.get(type(module), type(module))
