"""The whole network, and its weights at initialisation.

Weights of a part depend only on the seed, the part's place and its own sizes: two architectures that share their first
blocks share those blocks' weights, so that what was measured on one holds, bit for bit, for the other.
"""

import hashlib
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from autost_optuna.architecture import Architecture
from autost_optuna.model.blocks import MLP, Attention, Block, Stem
from autost_optuna.model.neuron import PLIF, reset
from autost_optuna.task import Task


Part = TypeVar("Part", bound=nn.Module)


class SpikingTransformer(nn.Module):
    """AutoST's spiking transformer in its CIFAR form: images [B, c, H, W] to logits [B, classes].

    `seed` fixes the weights; on the meta device there are none. Each call starts from resting neurons and leaves them so.
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
        if seed is not None:
            self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Give every part its weights at initialisation, on the CPU."""
        init_part(self.stem, seed, "stem")
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            init_part(block.attention, seed, "attention", index)
            init_part(block.mlp, seed, "mlp", index)
        init_part(self.head, seed, "head")

    def forward(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to logits [B, classes]."""
        try:
            x = self.stem(images)
            x = self.blocks(x)
            return self.head(x.mean((0, 2)))  # type: ignore[no-any-return]
        finally:
            reset(self)


def make_attention(embed_dim: int, num_heads: int, index: int, seed: int) -> Attention:
    """The attention of block `index` with its weights at initialisation; heads do not change the weights."""
    with torch.device("meta"):
        part = Attention(embed_dim, num_heads)
    return init_part(part, seed, "attention", index)


def make_mlp(embed_dim: int, hidden_dim: int, index: int, seed: int) -> MLP:
    """The MLP of block `index` with its weights at initialisation."""
    with torch.device("meta"):
        part = MLP(embed_dim, hidden_dim)
    return init_part(part, seed, "mlp", index)


def make_stem(embed_dim: int, task: Task, seed: int) -> Stem:
    """The stem with its weights at initialisation."""
    with torch.device("meta"):
        part = Stem(embed_dim, task)
    return init_part(part, seed, "stem")


def init_part(part: Part, seed: int, *place: str | int) -> Part:
    """Fill `part` on the CPU with weights that depend on `seed`, `place` and the shapes of its weights alone.

    Linear weights are normal with deviation 0.02, truncated at 2, biases 0; convolutions as torch does by default (Kaiming
    uniform, a = sqrt 5); normalisation at identity; neurons at tau 2. Raises TypeError for a layer that no rule covers.
    """
    part.to_empty(device="cpu")
    shapes = [tuple(p.shape) for p in part.parameters() if p.dim() > 1]
    digest = hashlib.sha256(repr((seed, place, shapes)).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    for module in part.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
        elif isinstance(module, PLIF):
            nn.init.zeros_(module.w)  # sigmoid(0) = 1/2 = 1/tau
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no rule initialises {type(module).__name__}")
    return part
