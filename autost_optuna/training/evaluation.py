"""Accuracy and energy of a trained network on held-out images, in full float32."""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from statistics import stdev
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from autost_optuna.data import Dataset
from autost_optuna.network.chain import operations, operations_and_populations, populations
from autost_optuna.network.packed import packed
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.rates import Rates, counting, measuring
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.training.batches import Batches, split_training
from autost_optuna.training.recipe import Recipe

EVAL_BATCH = 250
RATE_IMAGES = 64
INITIAL_IMAGES = 16  # for the rates before training, which the search takes from 4
FEWEST_IMAGES = 250  # fewest images to judge an accuracy by default: its standard error is then at most 3.2 points
# Most currents (all neurons, all steps) of a batch on a CPU: larger batches do not fit into its cache, smaller ones lose
# time between operations.
BATCH_CURRENTS = 1 << 24
LEAST_BATCH = 4
# In deviations of the logits. A packed network's logits differ from the plain one's by up to about this much.
CLOSE = 1 / 128

Done = Callable[[int, int], None]  # called with the number of images done and their total
Run = Callable[[Tensor], tuple[Tensor, list[Rates]]]
Result = TypeVar("Result")


def _unheard(done: int, total: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """The number of images to judge a network on, which is not part of a training's identity.

    `eval_images` of the validation split give accuracy and energy: by default all of them or, if the recipe trains on a part
    of the training set, the same share of them but at least FEWEST_IMAGES. `test_images` of the test set: by default all.
    """

    eval_images: int | None = None
    test_images: int | None = None

    def chosen(self, dataset: Dataset, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Indices of the images to judge on, in the training set and in the test set, the same for all networks and seeds.

        ValueError if there are too few images.
        """
        trained_on, held = split_training(dataset, recipe.validation_share, recipe.images)
        share = len(trained_on) / (len(dataset.train.labels) - len(held))
        validation = _bounded("eval_images", self.eval_images, len(held), f"the validation split of {dataset.name}")
        if self.eval_images is None:
            validation = min(len(held), max(FEWEST_IMAGES, round(share * len(held))))
        everything = len(dataset.test.labels)
        test = _bounded("test_images", self.test_images, everything, f"the test set of {dataset.name}")
        # A test set may be sorted by class, so that its first images would cover few classes.
        order = torch.randperm(everything, generator=torch.Generator().manual_seed(0))
        return held[:validation], torch.arange(everything) if test == everything else order[:test].sort().values


def _bounded(name: str, asked: int | None, there: int, where: str) -> int:
    if asked is not None and not 1 <= asked <= there:
        raise ValueError(f"{name} {asked:,} is out of range; {where} has 1 to {there:,}")
    return there if asked is None else asked


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The energy of a trained network from its spikes on the validation split, and the rates by operation behind it.

    `std_mj` is the deviation over single images. `initial_rates` are those of the same network before training, on the
    first of these images under batch statistics, as in the search.
    """

    convention: str
    images: int
    energy_mj: float
    std_mj: float
    mean_rate: float
    rates: dict[str, float]
    initial_rates: dict[str, float]


class Judged(NamedTuple):
    """The share of images that a network classifies correctly, and its rates on the first of them, one set per image."""

    accuracy: float
    rates: list[Rates]


def recalibrate(network: nn.Module, batches: Iterator[Tensor]) -> None:
    """Set the running statistics of normalisation to the plain mean over `batches`."""
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


def judge(
    network: SpikingTransformer,
    images: Batches,
    *,
    rate_images: int = 0,
    batch_size: int = EVAL_BATCH,
    on_done: Done = _unheard,
) -> Judged:
    """The accuracy of a network in eval mode on `images` and, from the same pass, its rates on the first `rate_images`.

    Batches have at most `batch_size` images; a CPU uses a packed copy. `network` itself judges images whose two best logits
    are too close for the copy. `on_done(done, total)` is called with the images judged. RuntimeError if an input that
    should be spikes has other values.
    """
    copy, total = packed(network.eval()), len(images)
    right, done, rates, unsure = 0, 0, [], [images.chosen[:0]]

    def take(run: Run, chosen: Tensor, *, final: bool) -> None:
        nonlocal right, done
        for part, labels, logits, seen in _in_batches(run, images, chosen, batch_size, network):
            sure = torch.ones_like(labels, dtype=torch.bool) if final else ~_close(logits)
            right += int(((logits.argmax(1) == labels) & sure).sum())
            done += int(sure.sum())
            rates.extend(seen)
            unsure.append(part[~sure.cpu()])
            on_done(done, total)

    with measuring():
        if rate_images:
            with counting(copy) as count:
                take(count, images.chosen[:rate_images], final=copy is network)
        take(lambda inputs: (copy(inputs), []), images.chosen[rate_images:], final=copy is network)
        take(lambda inputs: (network(inputs), []), torch.cat(unsure), final=True)
    return Judged(right / total, rates)


def accuracy_of(
    network: SpikingTransformer, images: Batches, batch_size: int = EVAL_BATCH, on_done: Done = _unheard
) -> float:
    """The accuracy of the network in eval mode, in full float32."""
    return judge(network, images, batch_size=batch_size, on_done=on_done).accuracy


def mean_rate_of(network: SpikingTransformer, rates: Sequence[Rates]) -> float:
    """The mean spike rate over all MACs that read spikes, on the first images only: a quick look during training."""
    means = mean_by_operation(rates[:RATE_IMAGES])
    return mean_rate(estimate_energy(operations(network.architecture, network.task), means))


def measured_of(
    network: SpikingTransformer, images: Batches, samples: Sequence[Rates], convention: Convention, *, seed: int
) -> Measured:
    """The energy of a network trained from `seed`, from its rates `samples` on `images`, one set per image."""
    ledger, layers = operations_and_populations(network.architecture, network.task)
    single = [total_mj(estimate_energy(ledger, rates, convention, layers)) for rates in samples]
    rates = mean_by_operation(samples)
    charges = estimate_energy(ledger, rates, convention, layers)
    inputs, _ = next(images.in_order(INITIAL_IMAGES))
    untrained = InitialRates(network.task, inputs, seed=seed)
    return Measured(
        convention=convention.label,
        images=len(samples),
        energy_mj=total_mj(charges),
        std_mj=stdev(single) if len(single) > 1 else 0.0,
        mean_rate=mean_rate(charges),
        rates=dict(rates),
        initial_rates=dict(mean_by_operation(untrained.measure(network.architecture))),
    )


def _close(logits: Tensor) -> Tensor:
    """Whether each image [B] has logits, of [B, classes], that are too close to call."""
    best, second = logits.topk(2).values.unbind(1)
    return best - second < CLOSE * logits.std()


def _in_batches(
    run: Run, images: Batches, chosen: Tensor, batch_size: int, network: SpikingTransformer
) -> Iterator[tuple[Tensor, Tensor, Tensor, list[Rates]]]:
    """Batches of the `chosen` images: indices, labels, and logits and rates from `run`. A CPU runs several at once."""
    if not len(chosen):
        return
    workers = 1
    if next(network.parameters()).device.type == "cpu":
        workers = torch.get_num_threads()
        layers = populations(network.architecture, network.task)
        most = BATCH_CURRENTS // sum(layer.neurons * layer.steps for layer in layers)
        batch_size = min(batch_size, max(LEAST_BATCH, most), -(-len(chosen) // workers))

    def work(inputs: Tensor) -> tuple[Tensor, list[Rates]]:
        with torch.inference_mode():  # for this thread
            return run(inputs)

    parts = chosen.split(batch_size)
    labels = []

    def jobs() -> Iterator[Callable[[], tuple[Tensor, list[Rates]]]]:
        for pixels, theirs in images.raw(parts):
            labels.append(theirs)
            yield functools.partial(work, images.fit(pixels))

    for index, (logits, rates) in enumerate(_in_threads(jobs(), workers)):
        yield parts[index], labels[index], logits, rates


def _in_threads(jobs: Iterable[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """The results of `jobs` in order, running as many at once as there are `workers`, each with one thread of torch.

    Threads that share the operations of one batch instead wait for each other several hundred times per batch.
    """
    if workers == 1:
        for job in jobs:
            yield job()
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[Result]] = deque()
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(workers)
