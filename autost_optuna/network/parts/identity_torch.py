"""No mixer, computed: a branch that adds nothing."""

import torch
from torch import Tensor, nn

from autost_optuna.network.parts.identity import Identity
from autost_optuna.network.place import Place


class IdentityModule(nn.Module):
    """Zeros."""

    def __init__(self, part: Identity, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to zeros [T, B, N, C]."""
        return torch.zeros_like(x)

    def initialise(self, seed: int) -> None:
        """There is nothing to draw."""
