"""A network of snnTorch that loops over time itself, to be audited; it needs the package snntorch."""

import snntorch
import torch
from torch import Tensor, nn


class Loop(nn.Module):
    """Images [B, 1, 8, 8] to logits [5, B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 32), snntorch.Leaky(beta=0.9, init_hidden=True)
        self.fc2, self.lif2 = nn.Linear(32, 10), snntorch.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x: Tensor) -> Tensor:
        """The spikes of five time steps."""
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(x.flatten(1))))) for _ in range(5)])
