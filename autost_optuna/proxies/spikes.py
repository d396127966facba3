"""Spike rates: the mean of an operation's input spikes a neuron a step, counted while images pass through the network.

At initialisation rates are measured with batch statistics, one forward on real images, since an untrained network with
its fresh running statistics is silent. Rates of first blocks are kept and reused: weights of a block depend on its place
and sizes alone, so the reused ones equal those of a fresh run, bit for bit.
"""

import ctypes
import functools
import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.architecture import Architecture
from autost_optuna.model.blocks import MLP, Attention, Product, Stem
from autost_optuna.model.linear import SpikeLinear
from autost_optuna.model.transformer import SpikingTransformer, init_attention, init_mlp, init_stem
from autost_optuna.proxies.operations import REAL, Operation, operations
from autost_optuna.task import Task

Rates = dict[str, float]

ENTRY_BYTES = 2048  # what an entry holds that is not a tensor, about
# A population of 50 deep networks has about 1.5 GB of residual streams and weights whose reuse pays. A machine with little
# memory keeps an eighth of it for them.
CACHE_BYTES = min(2 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


def check_ledger(model: nn.Module, ledger: Sequence[Operation]) -> None:
    """RuntimeError unless every weighted layer and product of `model` has its row in the ledger, and the reverse."""
    built = {
        name
        for name, module in model.named_modules()
        if isinstance(module, Product) or any(p.dim() > 1 for p in module.parameters(recurse=False))
    }
    listed = {operation.name for operation in ledger}
    for names, what in (
        (built - listed, "is in the model, not in the ledger"),
        (listed - built, "is in the ledger only"),
    ):
        if names:
            raise RuntimeError(f"{min(names)} {what}; its energy cannot be stated")


def measure_rates(model: SpikingTransformer, images: Tensor) -> Rates:
    """Rates of all spike-driven operations, by their names, for `images` [B, c, H, W] in the model's present mode."""
    ledger = operations(model.architecture, model.task)
    check_ledger(model, ledger)
    with torch.inference_mode():
        _, rates = _observe(model, "", [row.name for row in ledger if row.driven_by != REAL], images)
    return rates


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch within the context, without a trace in the running statistics."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, (training, tracking) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, tracking


class InitialRates:
    """Spike rates of architectures at initialisation on fixed images, with what architectures share computed once.

    `images` [B, c, H, W], normalised, of the task's size; `seed` fixes the weights. Residual streams after each block and
    the weights of blocks stay in memory up to `cache_bytes`, least recently used ones leaving first.
    """

    def __init__(self, task: Task, images: Tensor, *, seed: int = 0, cache_bytes: int = CACHE_BYTES) -> None:
        task.check_images(images.shape)
        _keep_pages()
        self.task = task
        self.images = images
        self.seed = seed
        self._cache = _Cache(cache_bytes)

    @property
    def cache_bytes(self) -> int:
        """Bytes of tensors held now."""
        return self._cache.held

    def measure(self, architecture: Architecture) -> Rates:
        """Rates of all spike-driven operations by their names.

        Those of `measure_rates` on the whole network under batch statistics, to the last bit, whatever was reused.
        """
        self.task.check(architecture)
        dim = architecture.embed_dim
        blocks = list(zip(architecture.num_heads, architecture.hidden_dims, strict=True))
        path = [("stream", dim, *blocks[:depth]) for depth in range(len(blocks) + 1)]
        known = max((depth for depth in range(len(path)) if path[depth] in self._cache), default=-1)
        with torch.inference_mode():
            if known < 0:
                x, found = self._stem(dim)
                self._cache.put(path[0], (x, (found,)), x.numel() * x.element_size() + ENTRY_BYTES)
                known = 0
            for depth in range(known):
                self._cache.touch(path[depth])
            x, rates = self._cache.get(path[known])
            for index in range(known, len(blocks)):
                heads, hidden = blocks[index]
                out, found = self._attention(dim, index, heads, x)
                x = x + out
                rates = (*rates, found)
                out, found = self._mlp(dim, index, hidden, x)
                x += out
                rates = (*rates, found)
                self._cache.put(path[index + 1], (x, rates), x.numel() * x.element_size() + ENTRY_BYTES)
        return {name: rate for part_rates in rates for name, rate in part_rates.items()}

    def _stem(self, dim: int) -> tuple[Tensor, Rates]:
        with torch.device("meta"):
            stem = Stem(dim, self.task)
        _prepare(init_stem(stem, self.seed))
        return _observe(stem, "stem.", ("conv2", "conv3", "conv4"), self.images)

    def _attention(self, dim: int, index: int, heads: int, x: Tensor) -> tuple[Tensor, Rates]:
        key = ("attention", dim, index)
        if key not in self._cache:
            with torch.device("meta"):
                made = Attention(dim, heads)
            self._cache.put(key, made, _prepare(init_attention(made, self.seed, index)))
        part: Attention = self._cache.get(key)
        part.num_heads = heads
        return _observe(part, f"blocks.{index}.attention.", ("q", "k", "v", "qk", "av", "proj"), x)

    def _mlp(self, dim: int, index: int, hidden: int, x: Tensor) -> tuple[Tensor, Rates]:
        key = ("mlp", dim, index, hidden)
        if key not in self._cache:
            with torch.device("meta"):
                made = MLP(dim, hidden)
            self._cache.put(key, made, _prepare(init_mlp(made, self.seed, index)))
        return _observe(self._cache.get(key), f"blocks.{index}.mlp.", ("fc1", "fc2"), x)


@functools.cache
def _keep_pages() -> None:
    """Let glibc keep up to 256 MiB of freed memory instead of giving each tensor back to the system and asking again.

    Fetching pages anew took half the time of an evaluation. Where the C library is another one, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mmap_threshold, trim_threshold = -3, -1  # parameters of mallopt, from malloc.h
    mallopt(mmap_threshold, 1 << 25)
    mallopt(trim_threshold, 1 << 28)


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


def _prepare(part: nn.Module) -> int:
    """Make `part` ready to be measured, with batch statistics and no running ones; returns the bytes it holds."""
    held = 0
    for module in part.train().modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
        elif isinstance(module, SpikeLinear):
            held += module.pack()
    return held + ENTRY_BYTES


def _observe(part: nn.Module, prefix: str, names: Collection[str], x: Tensor) -> tuple[Tensor, Rates]:
    """Run `part` on `x`, and with removable hooks take the mean of the spikes that enter each layer of `names`.

    The rates are named `prefix` + name.
    """
    rates: Rates = {}
    last: list[tuple[Tensor, float]] = []

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        spikes = inputs[module.driver if isinstance(module, Product) else 0]
        if not last or last[0][0] is not spikes:  # q, k and v read the same spikes: count them once
            # Sums of at most 2^24 ones are exact in float32; the sum of the sums is taken in float64.
            total = spikes.flatten(1).sum(1).sum(dtype=torch.float64)
            last[:] = [(spikes, float(total) / spikes.numel())]
        rates[prefix + name] = last[0][1]

    handles = [
        part.get_submodule(name).register_forward_pre_hook(lambda m, i, name=name: look(name, m, i)) for name in names
    ]
    try:
        return part(x), rates
    finally:
        for handle in handles:
            handle.remove()
