"""A Zen-like score: how far a small change of the input moves the features of an untrained network."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.layers import ChannelNorm
from autost_optuna.network.transformer import SpikingTransformer

ALPHA = 0.01


class Features(nn.Module):
    """The residual stream after the last block, before its mean over tokens and steps: images to [B, T, N, C].

    It belongs to a copy of the network whose weights have deviation 1, as in Zen: normalisation by batch statistics cancels
    the scale of the weights, and only its divisors reflect that scale.
    """

    def __init__(self, network: SpikingTransformer) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        del self.network.head
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    parameter.div_(parameter.std())

    def forward(self, images: Tensor) -> Tensor:
        """[B, *task.input_shape] to [B, T, N, C]."""
        out: Tensor = self.network.stream(images).transpose(0, 1)
        return out


def zen(features: nn.Module, images: Tensor, noise: Tensor, alpha: float = ALPHA) -> float:
    """log E |f(x) - f(x + alpha e)| + sum over norms of log sqrt(E s^2), with f the features [B, ...] of inputs [B, ...].

    Zen-NAS: Lin, Wang, Sun, Chen, Sun, Qian, Li, Jin, ICCV 2021, arXiv 2102.01063. x and e, `images` and `noise`, are drawn
    from N(0, 1); |.| is the Frobenius norm of an image's features; s^2 are the variances of a norm's channels in the batch x,
    plus its eps: the divisors of normalisation, multiplied back. `features` must normalise by batch statistics. The score is
    only Zen-like: the residual additions that Zen removes stay, because hardly any spike passes attention, and a change moves
    whole spikes. -inf if it moves none.
    """
    logs: list[float] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        eps: Any = module.eps
        channel = -1 if isinstance(module, ChannelNorm) else 1
        variances = inputs[0].transpose(0, channel).flatten(1).var(1, correction=0)
        logs.append(0.5 * math.log(variances.mean().item() + eps))  # Algorithm 1: log of a norm's mean sigma

    norms = [module for module in features.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.no_grad():
        try:
            before = features(images)
        finally:
            for handle in handles:
                handle.remove()
        # Algorithm 1: Delta
        moved = (features(images + alpha * noise) - before).double().flatten(1).norm(dim=1).mean().item()
    return math.log(moved) + math.fsum(logs) if moved else -math.inf  # Algorithm 1: Zen(F)
