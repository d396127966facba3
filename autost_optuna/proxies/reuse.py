"""Spike rates at initialisation; parts that architectures share are measured once.

The weights of a part depend only on the seed, its place and its sizes. So the stream after equal first blocks is equal and
can be reused: reused rates equal those of a fresh network, bit for bit.
"""

import os
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import Link, chain, rows_of
from autost_optuna.network.packed import pack_grid
from autost_optuna.network.rows import REAL, Operation
from autost_optuna.network.task import Task
from autost_optuna.network.values import as_count
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
        links = list(chain(architecture, self.task))
        while not any(row.driven_by != REAL for row in _operations(links[-1])):
            links.pop()  # no spike depends on what stands behind the last operation that reads spikes
        keys: list[tuple[Any, ...]] = [("stream", seed, links[0].at)]
        for link in links:
            keys.append((*keys[-1], link.part))
        stages = [link.at.stage for link in links] + [None]
        ends = [end for end in range(1, len(stages)) if stages[end] != stages[end - 1]]
        known = max((end for end in ends if keys[end] in self._cache), default=0)
        for end in ends:
            if end < known:
                self._cache.touch(keys[end])
        x, seen = self._cache.get(keys[known]) if known else (self.batches[seed], ())
        shared = True  # x is kept, or belongs to the caller
        for end, link in enumerate(links[known:], known + 1):
            out, found = self.pass_through(link, x, seed)
            if not link.adds:
                x = out
            elif shared:
                x = x + out
            else:
                x += out
            seen = (*seen, found)
            shared = end in ends
            if shared:
                self._cache.put(keys[end], (x, seen), x.numel() * x.element_size() + ENTRY_BYTES)
        rates = {name: values for part in seen for name, values in part.rates.items()}
        return Seen(rates, tuple(pattern for part in seen for pattern in part.patterns))

    def pass_through(self, link: Link, x: Tensor, seed: int) -> tuple[Tensor, Seen]:
        """The output of a part for its stream `x`, and what was seen in it."""
        at, part, _ = link
        prefix = f"{at.path}."
        driven = {row.name.removeprefix(prefix): row.most for row in _operations(link) if row.driven_by != REAL}
        key = ("weights", seed, part.weights(at), at.neuron, at.stem, at.spiking)
        if key in self._cache:
            module = self._cache.get(key)
            module.part, module.at = part, at  # another part may have had the same weights
        else:
            with torch.device("meta"):
                module = part.module(at)
            module.initialise(seed)
            held = self._prepare(module, driven)
            if link.adds:  # the stream behind the stem is kept, so that its weights need not be
                self._cache.put(key, module, held)
        return observe(module, prefix, driven, x, len(self.batches[seed]), self.patterns)

    def _prepare(self, part: nn.Module, driven: dict[str, int]) -> int:
        """Prepare `part` for measurement, with batch statistics instead of running ones; returns the bytes that it holds.

        Its layers `driven` read numbers of spikes up to what is said.
        """
        part.train().to(self.batches[self.seed].device)
        for module in part.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.track_running_stats = False
        return pack_grid(part, driven) + ENTRY_BYTES


def _operations(link: Link) -> list[Operation]:
    return [row for row in rows_of(link.part, link.at) if isinstance(row, Operation)]


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
