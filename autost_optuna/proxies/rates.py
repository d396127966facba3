"""Spike rates: the mean of an operation's input spikes per neuron and step, for each image that passes through the network.

At initialisation rates are measured with batch statistics: an untrained network with its fresh running statistics is silent.

Any thread may measure. The measurements of one process run one after the other; for several at once, use processes.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from autost_optuna.network.neuron import PLIF
from autost_optuna.network.operations import REAL, operations
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.counts import shares_of
from autost_optuna.proxies.patterns import Pattern
from autost_optuna.proxies.proof import MEASURING, driving_input, watching

Rates = dict[str, float]
Found = dict[str, list[float]]  # rates by operation, one an image


class Seen(NamedTuple):
    """What is kept of a part's spikes: rates, and where they are asked for the patterns of its layers of neurons."""

    rates: Found
    patterns: tuple[Pattern, ...]


def measure_rates(model: SpikingTransformer, images: Tensor) -> list[Rates]:
    """Rates of all spike-driven operations, by their names, one set an image of `images`, in the model's present mode.

    RuntimeError if an input that should be spikes has other values; `proof.prove_ledger` says whether all else is right.
    """
    names = driven_names(model)
    with measuring(), watching(model, "", names, demand_spikes):
        _, seen = observe(model, "", names, images, len(images))
    return by_image(seen.rates)


@contextmanager
def counting(model: SpikingTransformer) -> Iterator[Callable[[Tensor], tuple[Tensor, list[Rates]]]]:
    """Within the context, a function from images [B, ...] to logits and rates, one set an image, for several threads at once.

    `model` is in eval mode, packed or not. RuntimeError as of `measure_rates`, from the first images alone: what reads spikes
    once always does.
    """
    names, here = driven_names(model), threading.local()
    unproven = set(names)

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if name in unproven:
            demand_spikes(name, module, inputs)
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
    """Normalise by the statistics of the batch within the context, without a trace in the running statistics.

    No other thread measures meanwhile: it would meet, or restore, the wrong mode.
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
    """Alone and without gradients; on a GPU with whole float32 and the same algorithms every time, else more spikes flip."""
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with MEASURING, torch.inference_mode(), exact:
        yield


def observe(
    part: nn.Module, prefix: str, names: Collection[str], x: Tensor, images: int, patterns: bool = False
) -> tuple[Tensor, Seen]:
    """Run `part` on `x` and take the mean of the spikes that enter each layer of `names`, for each of the `images` images.

    And, with `patterns`, those of its neurons.
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
    return out, Seen(dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True)), tuple(kept))


@contextmanager
def _keeping(part: nn.Module, patterns: bool) -> Iterator[list[Pattern]]:
    """Within the context, with `patterns`, the list grows by the pattern of each layer of neurons of `part` that runs."""
    kept: list[Pattern] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        spikes = out.flatten(2)  # [T, B, neurons]; up to 2^24 in common a step are counted exactly in float32
        shared = (spikes @ spikes.transpose(1, 2)).double().cpu().numpy()
        kept.append(Pattern(neurons=spikes.shape[2], shared=shared))

    neurons = [module for module in part.modules() if isinstance(module, PLIF)] if patterns else []
    handles = [module.register_forward_hook(look) for module in neurons]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def are_spikes(x: Tensor) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())


def driven_names(model: SpikingTransformer) -> list[str]:
    """The names of all spike-driven operations of `model`."""
    return [row.name for row in operations(model.architecture, model.task) if row.driven_by != REAL]


def demand_spikes(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """RuntimeError if what drives the operation `name` is not spikes."""
    if not are_spikes(driving_input(module, inputs)):
        raise RuntimeError(f"{name} should read spikes and reads other values; its energy cannot be stated")


def by_image(found: Mapping[str, Sequence[float]]) -> list[Rates]:
    """Rates of each image from images of each rate."""
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
