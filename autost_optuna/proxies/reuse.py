"""Spike rates at initialisation; parts that architectures share are measured once.

The weights of a block depend only on the seed, its place and its sizes. So the residual stream after equal first blocks is
equal and can be reused: reused rates equal those of a fresh network, bit for bit.
"""

import os
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.architecture import Architecture, as_count
from autost_optuna.network.blocks import MLP, Attention, Stem
from autost_optuna.network.packed import pack_grid
from autost_optuna.network.task import Task
from autost_optuna.network.transformer import init_attention, init_mlp, init_stem
from autost_optuna.proxies.pages import keep_pages
from autost_optuna.proxies.patterns import Pattern
from autost_optuna.proxies.rates import Rates, Seen, by_image, measuring, observe

ENTRY_BYTES = 2048  # approximate size of an entry's parts that are not tensors
# A population of 50 deep networks has about 1.5 GB of residual streams and weights that are worth keeping. On a machine with
# little memory, use an eighth of it.
CACHE_BYTES = min(2 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


class InitialRates:
    """Spike rates of architectures at initialisation on fixed images; parts that architectures share are computed once.

    `images` [B, *task.input_shape] are normalised and split into `seeds` batches of equal size; the network that sees the
    first batch has the weights of `seed`, the next those of `seed` + 1, and so on. With `patterns`, the same forward also
    provides `measure_patterns`, of whole batches. Networks run on the device of the images. Residual streams after each
    block and the weights of blocks stay in its memory up to `cache_bytes`; the least recently used are dropped first. On the
    CPU the rates equal those of `measure_rates` bit for bit; a GPU rounds differently, which moves a few spikes.

    Several threads may share it. A pickle or copy omits the kept streams and weights, and measures the same rates.
    """

    def __init__(
        self,
        task: Task,
        images: Tensor,
        *,
        seed: int = 0,
        seeds: int = 1,
        cache_bytes: int = CACHE_BYTES,
        patterns: bool = False,
    ) -> None:
        task.check_images(images.shape)
        if len(images) % as_count("seeds", seeds):
            raise ValueError(f"{len(images)} images cannot be split among {seeds} seeds; give a multiple")
        keep_pages()
        self.task = task
        self.batches = dict(zip(range(seed, seed + seeds), images.chunk(seeds), strict=True))
        self.seed = seed
        self.seeds = seeds
        self.patterns = patterns
        self._cache = _Cache(cache_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Omit the cache: it can be computed again, and packed weights cannot leave the process."""
        return {**self.__dict__, "_cache": _Cache(self._cache.bound)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        keep_pages()
        self.__dict__.update(state)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the tensors that are kept now."""
        return self._cache.held

    def measure(self, architecture: Architecture) -> list[Rates]:
        """Rates of all spike-driven operations by name, under batch statistics: one set per image, seed after seed.

        Reuse does not change them.
        """
        self.task.check(architecture)
        with measuring():
            return [rates for seed in self.batches for rates in by_image(self._measure(architecture, seed).rates)]

    def measure_patterns(self, architecture: Architecture) -> list[tuple[Pattern, ...]]:
        """Patterns of all layers of neurons, in the order of the signal, one set per seed.

        Right after `measure` of the same architecture nothing is computed again. RuntimeError unless made with `patterns`.
        """
        if not self.patterns:
            raise RuntimeError("spike patterns were not requested; make InitialRates(..., patterns=True)")
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
        return observe(stem, "stem.", ("conv2", "conv3", "conv4"), images, len(images), self.patterns)

    def _attention(self, dim: int, index: int, heads: int, x: Tensor, seed: int) -> tuple[Tensor, Seen]:
        key = ("attention", seed, dim, index)
        if key not in self._cache:
            with torch.device("meta"):
                made = Attention(dim, heads)
            self._cache.put(key, made, self._prepare(init_attention(made, seed, index)))
        part: Attention = self._cache.get(key)
        part.num_heads = heads
        names = ("q", "k", "v", "qk", "av", "proj")
        return observe(part, f"blocks.{index}.attention.", names, x, x.shape[1], self.patterns)

    def _mlp(self, dim: int, index: int, hidden: int, x: Tensor, seed: int) -> tuple[Tensor, Seen]:
        key = ("mlp", seed, dim, index, hidden)
        if key not in self._cache:
            with torch.device("meta"):
                made = MLP(dim, hidden)
            self._cache.put(key, made, self._prepare(init_mlp(made, seed, index)))
        return observe(self._cache.get(key), f"blocks.{index}.mlp.", ("fc1", "fc2"), x, x.shape[1], self.patterns)

    def _prepare(self, part: nn.Module) -> int:
        """Prepare `part` for measurement, with batch statistics instead of running ones; returns the bytes that it holds."""
        part.train().to(self.batches[self.seed].device)
        for module in part.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.track_running_stats = False
        return pack_grid(part) + ENTRY_BYTES


class _Cache:
    """Values with their sizes in bytes. Above the bound it drops the least recently used, but never the newest."""

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
