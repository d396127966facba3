"""The parametric LIF neuron, computed."""

import math

import torch
from spikingjelly.activation_based.neuron import ParametricLIFNode
from torch import Tensor, nn

from autost_optuna.network.neurons.module import HardResetModule
from autost_optuna.network.neurons.plif import PLIF


class PLIFModule(HardResetModule, ParametricLIFNode):  # type: ignore[misc]
    """SpikingJelly's parametric LIF, whose learned `w` sets the time constant: 1 / tau = sigmoid(w)."""

    def __init__(self, neuron: PLIF) -> None:
        super().__init__(neuron, init_tau=float(neuron.tau))

    def decay(self, dtype: torch.dtype) -> Tensor:
        """sigmoid(w)."""
        w: Tensor = self.w if self.w.dtype == dtype else self.w.to(dtype)
        return w.sigmoid()

    @property
    def learned(self) -> Tensor:
        """The parameter `w`."""
        w: Tensor = self.w
        return w

    def reset_parameters(self) -> None:
        """Set w to the logit of 1 / tau: exactly 0 for tau 2."""
        nn.init.constant_(self.w, math.log(1 / (self.neuron.tau - 1)))
