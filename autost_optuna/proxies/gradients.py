"""Scores from the gradients of an untrained network: SynFlow without data, SNIP and GradNorm on images with classes.

Gradients pass through spikes by the same surrogate as in training (`network.neurons.steps`). Nothing is left in the
network's `.grad`.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.transformer import SpikingTransformer


def weight_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The weights of convolutions and linear layers, each with the gradient of the mean cross-entropy, in the network's mode.

    The images [B, ...] have classes `labels` [B]. Biases, normalisation and time constants are left out, as in
    Abdelfattah, Mehrotra, Dudziak, Lane, ICLR 2021, arXiv 2101.08134.
    """
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    with torch.enable_grad():
        loss = F.cross_entropy(network(images), labels)
        return list(zip(weights, torch.autograd.grad(loss, weights), strict=True))


def snip(gradients: Iterable[tuple[Tensor, Tensor]]) -> float:
    """sum |w dL/dw| over all weights: how much the loss would change, to first order, if each were pruned alone.

    SNIP: Lee, Ajanthan, Torr, ICLR 2019, arXiv 1810.02340; summed over the network by Abdelfattah et al., ICLR 2021.
    """
    return math.fsum((weight * gradient).abs().sum(dtype=torch.float64).item() for weight, gradient in gradients)


def grad_norm(gradients: Iterable[tuple[Tensor, Tensor]]) -> float:
    """sum over layers of the Euclidean norm of dL/dw: Abdelfattah et al., ICLR 2021, arXiv 2101.08134."""
    return math.fsum(gradient.norm(dtype=torch.float64).item() for _, gradient in gradients)


def synflow(network: nn.Module, inputs: Tensor, rescaled: Sequence[nn.Module] = ()) -> float:
    """log of sum |w| dR/d|w| over all parameters, R the sum of the outputs for `inputs` when all parameters are |w|.

    SynFlow: Tanaka, Kunin, Yamins, Ganguli, NeurIPS 2020, arXiv 2006.05467; their `inputs` are ones. R is the sum, over all
    paths through the network, of the products of their weights, so that no layer's share vanishes; Abdelfattah et al., ICLR
    2021, sum the score over the network. The logarithm gives the same ranking. R grows exponentially with depth, so all
    values are float64, and the outputs of the modules `rescaled`, which all paths cross, are divided by their mean; the
    result is multiplied by it again. The network should be homogeneous of degree 1 in its input, as `path_network` is.
    -inf if R is 0.
    """
    weights = {name: value.detach().double().abs().requires_grad_() for name, value in network.named_parameters()}
    scales: list[float] = []

    def rescale(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        scale = out.detach().mean()
        scales.append(scale.item())
        return out / scale

    handles = [module.register_forward_hook(rescale) for module in rescaled]
    try:
        with torch.enable_grad():
            flow = torch.func.functional_call(network, weights, (inputs.double(),)).sum()  # Algorithm 1: R
            gradients = torch.autograd.grad(flow, list(weights.values()))
    finally:
        for handle in handles:
            handle.remove()
    # Algorithm 1: S = dR/dw w
    total = math.fsum((w * g).sum().item() for w, g in zip(weights.values(), gradients, strict=True))
    return math.log(total) + math.fsum(map(math.log, scales)) if total else -math.inf


def path_network(network: SpikingTransformer) -> SpikingTransformer:
    """A copy of the network, with its weights, for SynFlow: real values flow along every path from input to output.

    Normalisation is removed, because it would cancel the scale of all weights. Neurons are removed as well: like SynFlow's
    ReLU, each passes a positive current on unchanged, the same at every step, so that one step suffices. A part may ask for
    more (`follow_paths`): a product of several signals needs a root. Pooling, residual additions and the order of products
    stay.
    """
    paths = copy.deepcopy(network).eval()
    paths.task = replace(network.task, time_steps=1)
    for part in list(paths.modules()):
        follow: Callable[[], None] | None = getattr(part, "follow_paths", None)
        if follow is not None:
            follow()
    for name, module in list(paths.named_modules()):
        if isinstance(module, NeuronModule | nn.modules.batchnorm._BatchNorm):
            paths.set_submodule(name, nn.Identity())
    return paths
