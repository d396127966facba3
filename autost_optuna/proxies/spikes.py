"""Spikes counted while images pass through the network: as rates, the mean of an operation's input spikes a neuron a step
of each image, or exactly, as the accumulates that they cause.

At initialisation rates are measured with batch statistics, one forward on real images, since an untrained network with
its fresh running statistics is silent. Rates of first blocks are kept and reused: weights of a block depend on its place
and sizes alone, so the reused ones equal those of a fresh run, bit for bit.

Any thread may measure. The measurements of one process run one after the other; for several at once, use processes.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.architecture import Architecture, as_count
from autost_optuna.model.blocks import MLP, Attention, Product, Stem
from autost_optuna.model.linear import SpikeLinear
from autost_optuna.model.neuron import PLIF
from autost_optuna.model.transformer import SpikingTransformer, init_attention, init_mlp, init_stem
from autost_optuna.pages import keep_pages
from autost_optuna.proxies.counts import shares_of
from autost_optuna.proxies.operations import REAL, operations
from autost_optuna.proxies.patterns import Pattern
from autost_optuna.proxies.proof import MEASURING, driving_input, watching
from autost_optuna.task import Task

Rates = dict[str, float]
Found = dict[str, list[float]]  # rates by operation, one an image


class Seen(NamedTuple):
    """What is kept of a part's spikes: rates, and where they are asked for the patterns of its layers of neurons."""

    rates: Found
    patterns: tuple[Pattern, ...]


ENTRY_BYTES = 2048  # what an entry holds that is not a tensor, about
# A population of 50 deep networks has about 1.5 GB of residual streams and weights whose reuse pays. A machine with little
# memory keeps an eighth of it for them.
CACHE_BYTES = min(2 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


def measure_rates(model: SpikingTransformer, images: Tensor) -> list[Rates]:
    """Rates of all spike-driven operations, by their names, one set an image of `images`, in the model's present mode.

    RuntimeError where an input that should be spikes has other values; `proof.prove_ledger` says whether all else is right.
    """
    names = _driven(model)
    with measuring(), watching(model, "", names, _demand_spikes):
        _, seen = _observe(model, "", names, images, len(images))
    return _by_image(seen.rates)


def measure_accumulates(model: SpikingTransformer, images: Tensor) -> list[dict[str, int]]:
    """Accumulates of all spike-driven operations over all steps, one set an image: what SpikingJelly's SynOpCounter counts.

    A spike at the border of a convolution reaches fewer outputs, and a product of two spike trains accumulates where both
    fire; the rates of `measure_rates` take all positions alike.
    """
    names = _driven(model)
    counts: dict[str, list[int]] = {}

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[name] = count_accumulates(module, inputs, len(images))

    with measuring(), watching(model, "", names, _demand_spikes), watching(model, "", names, look):
        model(images)
    return [dict(zip(counts, values, strict=True)) for values in zip(*counts.values(), strict=True)]


@contextmanager
def counting(model: SpikingTransformer) -> Iterator[Callable[[Tensor], tuple[Tensor, list[Rates]]]]:
    """Within the context, a function from images [B, ...] to logits and rates, one set an image, for several threads at once.

    `model` is in eval mode, packed or not. RuntimeError as of `measure_rates`, from the first images alone: what reads spikes
    once always does.
    """
    names, here = _driven(model), threading.local()
    unproven = set(names)

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if name in unproven:
            _demand_spikes(name, module, inputs)
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
        return logits, _by_image(dict(zip(names, shares, strict=True)))

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


class InitialRates:
    """Spike rates of architectures at initialisation on fixed images, with what architectures share computed once.

    `images` [B, *task.input_shape], normalised; they are parted into `seeds` batches of equal size, and the network that
    sees the first has weights of `seed`, the next of `seed` + 1, and so on. With `patterns` the same forward also gives
    `measure_patterns`, of whole batches. Residual streams after each block and the
    weights of blocks stay in the memory of `device` up to `cache_bytes`, least recently used ones leaving first. On the CPU
    the rates are those of `measure_rates`, bit for bit; a GPU rounds otherwise, which moves a few spikes.

    Several threads may share it. A pickle or a copy leaves the kept streams and weights out, and measures the same rates.
    """

    def __init__(
        self,
        task: Task,
        images: Tensor,
        *,
        seed: int = 0,
        seeds: int = 1,
        cache_bytes: int = CACHE_BYTES,
        device: str | torch.device = "cpu",
        patterns: bool = False,
    ) -> None:
        task.check_images(images.shape)
        if len(images) % as_count("seeds", seeds):
            raise ValueError(f"{len(images)} images cannot be parted among {seeds} seeds; give a multiple")
        keep_pages()
        self.task = task
        self.batches = dict(zip(range(seed, seed + seeds), images.to(device).chunk(seeds), strict=True))
        self.seed = seed
        self.seeds = seeds
        self.patterns = patterns
        self._cache = _Cache(cache_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: it is found again, and packed weights cannot leave the process."""
        return {**self.__dict__, "_cache": _Cache(self._cache.bound)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        keep_pages()
        self.__dict__.update(state)

    @property
    def cache_bytes(self) -> int:
        """Bytes of tensors held now."""
        return self._cache.held

    def measure(self, architecture: Architecture) -> list[Rates]:
        """Rates of all spike-driven operations by their names, under batch statistics: a set an image, seed after seed.

        They are the same whatever was reused.
        """
        self.task.check(architecture)
        with measuring():
            return [rates for seed in self.batches for rates in _by_image(self._measure(architecture, seed).rates)]

    def measure_patterns(self, architecture: Architecture) -> list[tuple[Pattern, ...]]:
        """Patterns of all layers of neurons, in the order in which the signal meets them, a set a seed.

        Just after `measure` of the same architecture nothing is computed again. RuntimeError where none were to be kept.
        """
        if not self.patterns:
            raise RuntimeError("spike patterns were not asked for; make InitialRates(..., patterns=True)")
        self.task.check(architecture)
        with measuring():
            return [self._measure(architecture, seed).patterns for seed in self.batches]

    def _measure(self, architecture: Architecture, seed: int) -> Seen:
        dim = architecture.embed_dim
        blocks = list(zip(architecture.num_heads, architecture.hidden_dims, strict=True))
        path = [("stream", seed, dim, *blocks[:depth]) for depth in range(len(blocks) + 1)]
        known = max((depth for depth in range(len(path)) if path[depth] in self._cache), default=-1)
        if known < 0:
            x, found = self._stem(dim, seed)
            self._cache.put(path[0], (x, (found,)), x.numel() * x.element_size() + ENTRY_BYTES)
            known = 0
        for depth in range(known):
            self._cache.touch(path[depth])
        x, seen = self._cache.get(path[known])
        for index in range(known, len(blocks)):
            heads, hidden = blocks[index]
            out, found = self._attention(dim, index, heads, x, seed)
            x = x + out
            seen = (*seen, found)
            out, found = self._mlp(dim, index, hidden, x, seed)
            x += out
            seen = (*seen, found)
            self._cache.put(path[index + 1], (x, seen), x.numel() * x.element_size() + ENTRY_BYTES)
        rates = {name: values for part in seen for name, values in part.rates.items()}
        return Seen(rates, tuple(pattern for part in seen for pattern in part.patterns))

    def _stem(self, dim: int, seed: int) -> tuple[Tensor, Seen]:
        with torch.device("meta"):
            stem = Stem(dim, self.task)
        self._prepare(init_stem(stem, seed))
        images = self.batches[seed]
        return _observe(stem, "stem.", ("conv2", "conv3", "conv4"), images, len(images), self.patterns)

    def _attention(self, dim: int, index: int, heads: int, x: Tensor, seed: int) -> tuple[Tensor, Seen]:
        key = ("attention", seed, dim, index)
        if key not in self._cache:
            with torch.device("meta"):
                made = Attention(dim, heads)
            self._cache.put(key, made, self._prepare(init_attention(made, seed, index)))
        part: Attention = self._cache.get(key)
        part.num_heads = heads
        names = ("q", "k", "v", "qk", "av", "proj")
        return _observe(part, f"blocks.{index}.attention.", names, x, x.shape[1], self.patterns)

    def _mlp(self, dim: int, index: int, hidden: int, x: Tensor, seed: int) -> tuple[Tensor, Seen]:
        key = ("mlp", seed, dim, index, hidden)
        if key not in self._cache:
            with torch.device("meta"):
                made = MLP(dim, hidden)
            self._cache.put(key, made, self._prepare(init_mlp(made, seed, index)))
        return _observe(self._cache.get(key), f"blocks.{index}.mlp.", ("fc1", "fc2"), x, x.shape[1], self.patterns)

    def _prepare(self, part: nn.Module) -> int:
        """Make `part` ready to be measured, with batch statistics and no running ones; returns the bytes it holds."""
        held = 0
        part.train().to(self.batches[self.seed].device)
        for module in part.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.track_running_stats = False
            elif isinstance(module, SpikeLinear):
                held += module.pack()
        return held + ENTRY_BYTES


class _Cache:
    """Values with their sizes in bytes; the least recently used leave when the bound is passed, the newest never."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.held = 0
        self._entries: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._entries

    def get(self, key: tuple[Any, ...]) -> Any:
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def touch(self, key: tuple[Any, ...]) -> None:
        if key in self._entries:
            self._entries.move_to_end(key)

    def put(self, key: tuple[Any, ...], value: Any, size: int) -> None:
        self.held += size - self._entries.get(key, (None, 0))[1]
        self._entries[key] = value, size
        while self.held > self.bound and len(self._entries) > 1:
            _, (_, freed) = self._entries.popitem(last=False)
            self.held -= freed


def _observe(
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


def count_accumulates(module: nn.Module, inputs: tuple[Tensor, ...], images: int = 1) -> list[int]:
    """Accumulates of one call of a convolution, linear layer or `Product` whose driving input is spikes of 0 and 1.

    One number for each of the `images` images that [T, B, ...] or [T*B, ...] hold. A spike adds a weight to every output that
    it reaches, at the border of a padded convolution to fewer; where both sides of a product are spikes, an accumulate
    happens where both fire.
    """

    def total(x: Tensor) -> list[int]:
        return [round(count) for count in x.unflatten(0, (-1, images)).flatten(2).sum((0, 2)).tolist()]

    if isinstance(module, Product):
        left, right = (x.flatten(0, 1).to(torch.float64) for x in inputs)
        if _are_spikes(left) and _are_spikes(right):
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


def _are_spikes(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _driven(model: SpikingTransformer) -> list[str]:
    """The names of all spike-driven operations of `model`."""
    return [row.name for row in operations(model.architecture, model.task) if row.driven_by != REAL]


def _demand_spikes(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not _are_spikes(driving_input(module, inputs)):
        raise RuntimeError(f"{name} should read spikes and reads other values; its energy cannot be stated")


def _by_image(found: Mapping[str, Sequence[float]]) -> list[Rates]:
    """Rates of each image from images of each rate."""
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
