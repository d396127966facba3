"""Spike rates: the mean of an operation's input spikes per neuron and step, for each image that passes through the network.

At initialisation rates are measured with batch statistics, because an untrained network is silent with fresh running ones.

Any thread may measure. Measurements in one process run one after the other; use processes to run several at once.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from autost_optuna.network.chain import operations
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.rows import REAL
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.counts import shares_of
from autost_optuna.proxies.patterns import Pattern
from autost_optuna.proxies.proof import MEASURING, Look, driving_input, watching

Rates = dict[str, float]
Found = dict[str, list[float]]  # rates by operation, one per image


class Seen(NamedTuple):
    """What is kept of a part's spikes: rates and, on request, the patterns of its layers of neurons."""

    rates: Found
    patterns: tuple[Pattern, ...]


def measure_rates(model: SpikingTransformer, images: Tensor) -> list[Rates]:
    """Rates of all spike-driven operations by name, one set per image of `images`, in the model's current mode.

    RuntimeError if an input that should be spikes has other values; `proof.prove_ledger` checks everything else.
    """
    bounds = driven_bounds(model)
    with measuring(), watching(model, "", bounds, demanding(bounds)):
        _, seen = observe(model, "", bounds, images, len(images))
    return by_image(seen.rates)


@contextmanager
def counting(model: SpikingTransformer) -> Iterator[Callable[[Tensor], tuple[Tensor, list[Rates]]]]:
    """Yields a function from images [B, ...] to logits and rates, one set per image, which several threads may call at once.

    `model` is in eval mode, packed or not. RuntimeError as in `measure_rates`, checked on the first images only: an input
    that is spikes once always is.
    """
    bounds, here = driven_bounds(model), threading.local()
    names, unproven, demand = list(bounds), set(bounds), demanding(bounds)

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if name in unproven:
            demand(name, module, inputs)
            unproven.discard(name)
        spikes = driving_input(module, inputs)
        if here.last is not spikes:  # q, k and v read the same spikes: count them once
            here.last, here.shares = spikes, shares_of(module, spikes, here.images)
        here.found[name] = here.shares

    def run(images: Tensor) -> tuple[Tensor, list[Rates]]:
        here.last, here.found, here.images = None, {}, len(images)
        logits = model(images)
        shares = torch.stack([here.found[name] for name in names]).tolist()
        here.last = None
        return logits, by_image(dict(zip(names, shares, strict=True)))

    with watching(model, "", names, look):
        yield run


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch within the context, without changing the running statistics.

    No other thread measures meanwhile: it would find, or restore, the wrong mode.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with MEASURING:
        before = [(norm.training, norm.track_running_stats) for norm in norms]
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        try:
            yield
        finally:
            for norm, (training, tracking) in zip(norms, before, strict=True):
                norm.training, norm.track_running_stats = training, tracking


@contextmanager
def measuring() -> Iterator[None]:
    """Measure alone and without gradients. A GPU uses full float32 and fixed algorithms, since otherwise more spikes flip."""
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with MEASURING, torch.inference_mode(), exact:
        yield


def observe(
    part: nn.Module, prefix: str, names: Collection[str], x: Tensor, images: int, patterns: bool = False
) -> tuple[Tensor, Seen]:
    """Run `part` on `x` and return the mean of the spikes that enter each layer of `names`, for each of `images` images.

    With `patterns`, it also returns the patterns of its neurons.
    """
    found: dict[str, Tensor] = {}
    last: list[tuple[Tensor, Tensor]] = []

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        spikes = driving_input(module, inputs)
        if not last or last[0][0] is not spikes:  # q, k and v read the same spikes: count them once
            last[:] = [(spikes, shares_of(module, spikes, images))]
        found[name] = last[0][1]

    with watching(part, prefix, names, look), _keeping(part, patterns) as kept:
        out: Tensor = part(x)
    rates = torch.stack(list(found.values())).tolist() if found else []
    return out, Seen(dict(zip(found, rates, strict=True)), tuple(kept))


@contextmanager
def _keeping(part: nn.Module, patterns: bool) -> Iterator[list[Pattern]]:
    """Within the context, with `patterns`, append the pattern of each layer of neurons of `part` that runs to the list."""
    kept: list[Pattern] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        spikes = out.flatten(2).sign()  # [T, B, neurons]; float32 counts up to 2^24 shared spikes per step exactly
        shared = (spikes @ spikes.transpose(1, 2)).double().cpu().numpy()
        kept.append(Pattern(neurons=spikes.shape[2], shared=shared))

    neurons = [module for module in part.modules() if isinstance(module, NeuronModule)] if patterns else []
    handles = [module.register_forward_hook(look) for module in neurons]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def are_spikes(x: Tensor, most: int = 1) -> bool:
    """Whether all values are whole numbers from 0 to `most`."""
    return bool(((x == x.round()) & (x >= 0) & (x <= most)).all())


def driven_bounds(model: SpikingTransformer) -> dict[str, int]:
    """The names of all spike-driven operations of `model`, each with the largest value that drives it."""
    rows = operations(model.architecture, model.task)
    return {row.name: row.most for row in rows if row.driven_by != REAL}


def demanding(bounds: Mapping[str, int]) -> Look:
    """A look that raises RuntimeError if an operation is driven by anything but spikes within its bound."""

    def demand(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not are_spikes(driving_input(module, inputs), bounds[name]):
            raise RuntimeError(f"{name} should read spikes and reads other values; its energy cannot be stated")

    return demand


def by_image(found: Mapping[str, Sequence[float]]) -> list[Rates]:
    """One dict of rates per image, from one list of images per operation."""
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
