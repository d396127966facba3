"""Batches: images of a data set as a network reads them, by index; a thread reads ahead those in files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autost_optuna.data import Dataset, Normalisation, Split, fit
from autost_optuna.network.task import Task

AHEAD = 2
# Data sets up to this size stay on the device, so that no batch waits for the host: CIFAR-10 has 184 MB.
RESIDENT_BYTES = 1 << 30


class Batches:
    """The `chosen` images of a split, for a network of `task` on `device`."""

    def __init__(
        self, split: Split, chosen: Tensor, normalisation: Normalisation, task: Task, device: torch.device
    ) -> None:
        self.chosen = chosen
        self.labels = torch.from_numpy(split.labels)
        self._normalisation, self._task, self._device = normalisation, task, device
        self._images: Any = split.images
        if isinstance(split.images, np.ndarray):
            images = torch.from_numpy(split.images)
            self._images = images.to(device) if images.nbytes <= RESIDENT_BYTES else images

    def __len__(self) -> int:
        return len(self.chosen)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images [B, *task.input_shape] with their labels [B], without augmentation, on the device."""
        for pixels, labels in self.raw(self.chosen.split(batch_size)):
            yield self.fit(pixels), labels

    def raw(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and labels of each batch of indices, on the device."""
        if isinstance(self._images, Tensor):  # already in memory: a thread would only take a core from the network
            for indices in batches:
                yield self._read(indices)
            return
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        with ThreadPoolExecutor(1) as reader:
            for indices in batches:
                waiting.append(reader.submit(self._read, indices))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def fit(self, pixels: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Pixels [B, ...] as the network reads them, augmented before normalisation."""
        return fit(pixels, self._normalisation, self._task, augment)

    def _read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        images = self._images
        if isinstance(images, Tensor):
            pixels = images[indices.to(images.device)]
        else:
            pixels = torch.from_numpy(images[indices.numpy()])
        return pixels.to(self._device, non_blocking=True), self.labels[indices].to(self._device)


def split_training(dataset: Dataset, validation_share: float, images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices into the training set by `seed`: `images` to train on (0: all remaining), and those held out."""
    count = len(dataset.train.labels)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = max(1, round(validation_share * count))
    rest = order[held:]
    if images > len(rest):
        raise ValueError(
            f"images {images:,} is more than the {len(rest):,} of {dataset.name} that are left to train on"
        )
    return rest[: images or None], order[:held]
