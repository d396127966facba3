"""The LIF neuron, computed."""

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor

from autost_optuna.network.neurons.lif import LIF
from autost_optuna.network.neurons.module import HardResetModule


class LIFModule(HardResetModule, LIFNode):  # type: ignore[misc]
    """SpikingJelly's LIF, which divides by tau; at rest this class multiplies by 1 / tau, equal if that is exact."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__(neuron, tau=float(neuron.tau))

    def decay(self, dtype: torch.dtype) -> Tensor:
        """1 / tau."""
        return torch.tensor(1 / self.tau, dtype=dtype)

    @property
    def learned(self) -> None:
        """A LIF learns nothing."""
        return None

    def reset_parameters(self) -> None:
        """Does nothing: a LIF has no parameters."""
