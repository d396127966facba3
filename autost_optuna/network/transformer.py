"""The whole network: the modules of a chain of parts, and the stream that flows through them.

Weights of a part depend only on the seed, the part's place and its own sizes: two architectures that share their first
blocks share those blocks' weights, so that a measurement of one holds, bit for bit, for the other.
"""

from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import chain
from autost_optuna.network.neurons.module import reset
from autost_optuna.network.task import Task


class Block(nn.Module):
    """One block: each of its parts reads the stream [T, B, N, C] and is added to it."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        for part in self.children():
            x = x + part(x)
        return x


class SpikingTransformer(nn.Module):
    """A spiking transformer: images [B, c, H, W] to logits [B, classes].

    For an events task, recordings [B, T, c, H, W] take the place of images; the batch comes first in both.
    `seed` fixes the weights; with None the network stays on the meta device, without weights. Every call starts with
    neurons at rest and leaves them at rest.
    """

    stem: Any
    blocks: nn.Sequential
    head: Any

    def __init__(self, architecture: Architecture, task: Task, *, seed: int | None = 0) -> None:
        task.check(architecture)
        super().__init__()
        self.architecture = architecture
        self.task = task
        self.entrances: dict[int, str] = {}  # embeddings of later stages, by the index of the block behind them
        with torch.device("meta"):
            for at, part, _ in chain(architecture, task):
                if at.block is None:
                    self.add_module(at.path, part.module(at))
                    if at.stage == "stem":
                        self.blocks = nn.Sequential()
                    elif at.stage != "head":
                        self.entrances[len(self.blocks)] = at.path
                    continue
                if at.block == len(self.blocks):
                    self.blocks.append(Block())
                self.blocks[at.block].add_module(part.name, part.module(at))
        for module in self.modules():  # a faster form for training, with the same parameters and values
            module.__class__ = getattr(module, "short", type(module))
        if seed is not None:
            self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Give every part its weights at initialisation, on the CPU."""
        for at, _, _ in chain(self.architecture, self.task):
            part: Any = self.get_submodule(at.path)
            part.initialise(seed)

    def forward(self, images: Tensor, *, every_step: bool = False) -> Tensor:
        """[B, *task.input_shape] to logits [B, classes]: the mean of [T, B, classes], which `every_step` returns.

        ValueError if the images have another shape.
        """
        self.task.check_images(images.shape)
        try:
            return self.head(self.stream(images), every_step=every_step)  # type: ignore[no-any-return]
        finally:
            reset(self)

    def stream(self, images: Tensor) -> Tensor:
        """[B, *task.input_shape] to the stream behind the last block, [T, B, N, C]."""
        x: Tensor = self.stem(images)
        for index, block in enumerate(self.blocks):
            if index in self.entrances:
                x = self.get_submodule(self.entrances[index])(x)
            x = block(x)
        return x
