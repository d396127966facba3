"""How good a trained network is, and what it costs: accuracy and energy on held-out images, in whole float32."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import stdev

import torch
from torch import Tensor, nn

from autost_optuna.batches import Batches, split_training
from autost_optuna.data import Dataset
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.operations import operations, populations
from autost_optuna.proxies.spikes import batch_statistics, measure_rates
from autost_optuna.recipe import Recipe

EVAL_BATCH = 250
RATE_IMAGES = 64
FEWEST_IMAGES = 250  # on which an accuracy is judged by default: its standard error is then at most 3.2 points
Done = Callable[[int, int], None]  # hears how many of how many images are done


def _unheard(done: int, total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """On how many images a network is judged; it does not tell trainings apart.

    `eval_images` of the validation split give accuracy and energy: by default all of them, or, where the recipe trains on part
    of the training set, the same share of them but at least FEWEST_IMAGES. `test_images` of the test set: by default all.
    """

    eval_images: int | None = None
    test_images: int | None = None

    def chosen(self, dataset: Dataset, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Indices into the training set and into the test set of the images to judge on, the same for all networks and seeds.

        ValueError if there are not so many.
        """
        trained_on, held = split_training(dataset, recipe.validation_share, recipe.images)
        share = len(trained_on) / (len(dataset.train.labels) - len(held))
        validation = _bounded("eval_images", self.eval_images, len(held), f"the validation split of {dataset.name}")
        if self.eval_images is None:
            validation = min(len(held), max(FEWEST_IMAGES, round(share * len(held))))
        everything = len(dataset.test.labels)
        test = _bounded("test_images", self.test_images, everything, f"the test set of {dataset.name}")
        # A test set may lie class by class, so that its first images would be of a few classes.
        order = torch.randperm(everything, generator=torch.Generator().manual_seed(0))
        return held[:validation], torch.arange(everything) if test == everything else order[:test].sort().values


def _bounded(name: str, asked: int | None, there: int, where: str) -> int:
    if asked is not None and not 1 <= asked <= there:
        raise ValueError(f"{name} {asked:,} is out of range; {where} has 1 to {there:,}")
    return there if asked is None else asked


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


def evaluate(network: nn.Module, images: Batches, batch_size: int = EVAL_BATCH, on_done: Done = _unheard) -> float:
    """Accuracy of the network in eval mode, in whole float32."""
    network.eval()
    right = done = 0
    with torch.no_grad():
        for inputs, labels in images.in_order(batch_size):
            right += int((network(inputs).argmax(1) == labels).sum())
            done += len(labels)
            on_done(done, len(images))
    return right / len(images)


def first_mean_rate(network: SpikingTransformer, images: Batches) -> float:
    """The mean spike rate over all MACs that read spikes, of the first `images` alone: a glance while training."""
    inputs, _ = next(images.in_order(RATE_IMAGES))
    rates = mean_by_operation(measure_rates(network.eval(), inputs))
    return mean_rate(estimate_energy(operations(network.architecture, network.task), rates))


def measure(
    network: SpikingTransformer, images: Batches, convention: Convention, *, seed: int, on_done: Done = _unheard
) -> Measured:
    """The energy of a network trained from `seed` in eval mode, from its rates on `images`, under the search's accounting."""
    network.eval()
    samples: list[dict[str, float]] = []
    for inputs, _ in images.in_order(RATE_IMAGES):
        samples += measure_rates(network, inputs)
        on_done(len(samples), len(images))
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
