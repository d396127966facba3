"""How good a trained network is, and what it costs: accuracy and energy on held-out images, in whole float32."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import stdev

import torch
from torch import Tensor, nn

from autost_optuna.batches import Batches
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.operations import operations, populations
from autost_optuna.proxies.spikes import batch_statistics, measure_rates

EVAL_BATCH = 250
RATE_IMAGES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Energy of a trained network from its spikes on the validation split, and the rates by operation behind it.

    `std_mj` is the deviation over single images. `initial_rates` are those of the same network before training, on the
    first of these images under batch statistics, as the search measures them.
    """

    convention: str
    images: int
    energy_mj: float
    std_mj: float
    mean_rate: float
    rates: dict[str, float]
    initial_rates: dict[str, float]


def recalibrate(network: nn.Module, batches: Iterator[Tensor]) -> None:
    """Set the running statistics of normalisation to the plain mean of those of `batches`."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for images in batches:
            network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def evaluate(network: nn.Module, images: Batches, batch_size: int = EVAL_BATCH) -> float:
    """Accuracy of the network in eval mode, in whole float32."""
    network.eval()
    right = 0
    with torch.no_grad():
        for inputs, labels in images.in_order(batch_size):
            right += int((network(inputs).argmax(1) == labels).sum())
    return right / len(images)


def first_mean_rate(network: SpikingTransformer, images: Batches) -> float:
    """The mean spike rate over all MACs that read spikes, of the first `images` alone: a glance while training."""
    inputs, _ = next(images.in_order(RATE_IMAGES))
    rates = mean_by_operation(measure_rates(network.eval(), inputs))
    return mean_rate(estimate_energy(operations(network.architecture, network.task), rates))


def measure(network: SpikingTransformer, images: Batches, convention: Convention, *, seed: int) -> Measured:
    """The energy of a network trained from `seed` in eval mode, from its rates on `images`, under the search's accounting."""
    network.eval()
    samples = [rates for inputs, _ in images.in_order(RATE_IMAGES) for rates in measure_rates(network, inputs)]
    ledger, layers = operations(network.architecture, network.task), populations(network.architecture, network.task)
    single = [total_mj(estimate_energy(ledger, rates, convention, layers)) for rates in samples]
    rates = mean_by_operation(samples)
    charges = estimate_energy(ledger, rates, convention, layers)
    untrained = SpikingTransformer(network.architecture, network.task, seed=seed)
    inputs, _ = next(images.in_order(RATE_IMAGES))
    with batch_statistics(untrained.to(inputs.device)):
        initial = mean_by_operation(measure_rates(untrained, inputs))
    return Measured(
        convention=convention.label,
        images=len(samples),
        energy_mj=total_mj(charges),
        std_mj=stdev(single) if len(single) > 1 else 0.0,
        mean_rate=mean_rate(charges),
        rates=dict(rates),
        initial_rates=dict(initial),
    )
