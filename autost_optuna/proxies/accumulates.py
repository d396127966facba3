"""Accumulates: the additions that spikes cause, counted exactly while images pass through the network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.layers import Product
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.proof import watching
from autost_optuna.proxies.rates import are_spikes, demanding, driven_bounds, measuring


def measure_accumulates(model: SpikingTransformer, images: Tensor) -> list[dict[str, int]]:
    """Accumulates of all spike-driven operations over all steps, one set per image, as SpikingJelly's SynOpCounter counts them.

    A spike at the border of a convolution reaches fewer outputs, and a product of two spike trains accumulates where both
    fire; the rates of `measure_rates` treat all positions alike.
    """
    bounds = driven_bounds(model)
    counts: dict[str, list[int]] = {}

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[name] = count_accumulates(module, inputs, len(images), bounds[name])

    with measuring(), watching(model, "", bounds, demanding(bounds)), watching(model, "", bounds, look):
        model(images)
    return [dict(zip(counts, values, strict=True)) for values in zip(*counts.values(), strict=True)]


def count_accumulates(module: nn.Module, inputs: tuple[Tensor, ...], images: int = 1, most: int = 1) -> list[int]:
    """Accumulates of one call of a convolution, linear layer or `Product` whose driving input is spikes up to `most`.

    Returns one number for each of the `images` images in [T, B, ...] or [T*B, ...]. A spike adds a weight to every output
    that it reaches, and it reaches fewer at the border of a padded convolution. If both inputs of a product are spikes, an
    accumulate happens where both fire. A number of spikes counts as that many. TypeError for any other module.
    """

    def total(x: Tensor) -> list[int]:
        return [round(count) for count in x.unflatten(0, (-1, images)).flatten(2).sum((0, 2)).tolist()]

    if isinstance(module, Product):
        left, right = (x.flatten(0, 1).to(torch.float64) for x in inputs)
        if are_spikes(left, most) and are_spikes(right, most):
            return total(left.sum(-2) * right.sum(-1))
        fan_out = right.shape[-1] if module.driver == 0 else left.shape[-2]
        return [fan_out * count for count in total(left if module.driver == 0 else right)]
    spikes = inputs[0].to(torch.float64)
    if isinstance(module, nn.Linear):
        rows = spikes if spikes.dim() == 2 else spikes.flatten(0, 1)
        return [module.out_features * count for count in total(rows)]
    if not isinstance(module, nn.Conv2d):
        raise TypeError(f"no rule counts the accumulates of {type(module).__name__}")
    kernel = torch.ones(1, 1, *module.kernel_size, dtype=torch.float64, device=spikes.device)
    reached = F.conv2d(spikes.sum(1, keepdim=True), kernel, None, module.stride, module.padding, module.dilation)
    return [module.out_channels // module.groups * count for count in total(reached)]
