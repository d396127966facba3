"""The whole network, and its weights at initialisation.

Weights of a part depend only on the seed, the part's place and its own sizes: two architectures that share their first
blocks share those blocks' weights, so that a measurement of one holds, bit for bit, for the other.
"""

import hashlib
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.blocks import MLP, Attention, Block, Stem
from autost_optuna.network.linear import STD, SpikeLinear, draw_weights
from autost_optuna.network.neuron import PLIF, reset
from autost_optuna.network.shortcuts import shorten
from autost_optuna.network.task import Task

Part = TypeVar("Part", bound=nn.Module)


class SpikingTransformer(nn.Module):
    """AutoST's spiking transformer in its CIFAR form: images [B, c, H, W] to logits [B, classes].

    For an events task, recordings [B, T, c, H, W] take the place of images; the batch comes first in both.
    `seed` fixes the weights; with None the network stays on the meta device, without weights. Every call starts with
    neurons at rest and leaves them at rest.
    """

    def __init__(self, architecture: Architecture, task: Task, *, seed: int | None = 0) -> None:
        task.check(architecture)
        super().__init__()
        self.architecture = architecture
        self.task = task
        with torch.device("meta"):
            self.stem = Stem(architecture.embed_dim, task)
            self.blocks = nn.Sequential(
                *(
                    Block(architecture.embed_dim, heads, hidden)
                    for heads, hidden in zip(architecture.num_heads, architecture.hidden_dims, strict=True)
                )
            )
            self.head = nn.Linear(architecture.embed_dim, task.num_classes)
        shorten(self)
        if seed is not None:
            self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Give every part its weights at initialisation, on the CPU."""
        dim = self.architecture.embed_dim
        init_stem(self.stem, seed)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            init_attention(block.attention, seed, index)
            init_mlp(block.mlp, seed, index)
        generator = _generator(seed, "head", dim, self.task.num_classes)
        nn.init.trunc_normal_(_fresh(self.head).weight, std=STD, generator=generator)

    def forward(self, images: Tensor, *, every_step: bool = False) -> Tensor:
        """[B, *task.input_shape] to logits [B, classes]: the mean of [T, B, classes], which `every_step` returns.

        ValueError if the images have another shape.
        """
        self.task.check_images(images.shape)
        try:
            x = self.stem(images)
            x = self.blocks(x)
            return self.head(x.mean(2 if every_step else (0, 2)))  # type: ignore[no-any-return]
        finally:
            reset(self)


def init_stem(stem: Stem, seed: int) -> Stem:
    """Convolutions as torch does by default: Kaiming uniform with a = sqrt(5)."""
    generator = _generator(seed, "stem", stem.conv1.in_channels, stem.position.out_channels)
    for module in _fresh(stem).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
    return stem


def init_attention(attention: Attention, seed: int, index: int) -> Attention:
    """The attention of block `index`; the number of heads does not change its weights."""
    generator = _generator(seed, "attention", index, attention.q.in_features)
    for module in _fresh(attention).modules():
        if isinstance(module, SpikeLinear):
            module.weight.data = draw_weights(module.out_features, module.in_features, generator)
    return attention


def init_mlp(mlp: MLP, seed: int, index: int) -> MLP:
    """The MLP of block `index`.

    A hidden unit's weights do not depend on the number of units: the MLP of a smaller ratio is a part of that of a larger
    one. So units are drawn in whole multiples of C, where more of them only append to the random stream.
    """
    dim, hidden = _fresh(mlp).fc1.in_features, mlp.fc1.out_features
    units = -(-hidden // dim) * dim
    with torch.no_grad():
        mlp.fc1.weight.copy_(draw_weights(units, dim, _generator(seed, "fc1", index, dim))[:hidden])
        mlp.fc2.weight.copy_(draw_weights(units, dim, _generator(seed, "fc2", index, dim))[:hidden].t())
    return mlp


def materialise(module: nn.Module) -> None:
    """Move a module from the meta device to CPU memory that is not set. `to_empty` would import sympy, for half a second."""
    module._apply(lambda there: torch.empty(there.shape, dtype=there.dtype))


def _fresh(part: Part) -> Part:
    """`part` in CPU memory, with identity normalisation and neurons at tau 2; its weights are still to be set."""
    materialise(part)
    for module in part.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
        elif isinstance(module, PLIF):
            nn.init.zeros_(module.w)  # sigmoid(0) = 1/2 = 1/tau
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif not isinstance(module, nn.Conv2d) and any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no rule initialises {type(module).__name__}")
    return part


def _generator(seed: int, *place: str | int) -> torch.Generator:
    """A separate random stream for every seed and place."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
