"""What the twins of all neurons share. With the twins themselves, the one door to SpikingJelly."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.exported import fire_whole, onnx_fire
from autost_optuna.network.neurons.steps import ALPHA, distance, fire, spikes


class NeuronModule(BaseNode):  # type: ignore[misc]
    """[T, ...] currents to [T, ...] spikes of 0 and 1. A twin has this class and one of SpikingJelly's as its bases.

    A neuron at rest takes a path that is several times faster and gives SpikingJelly's spikes bit for bit (a LIF's if 1 / tau
    is exact): without gradients it skips the tensors of a backward pass; with gradients, on the CPU, it uses `steps.fire`,
    which torch.compile fuses if `fused`. This path leaves no state behind. SpikingJelly, which has kernels for GPUs, computes
    all other cases.
    """

    def __init__(self, neuron: Neuron, settings: dict[str, float]) -> None:
        super().__init__(
            **settings,  # what SpikingJelly's class calls tau
            decay_input=True,
            v_threshold=float(neuron.threshold),
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=ALPHA),
            detach_reset=True,
            step_mode="m",
        )
        self.neuron = neuron
        self.fused = False
        self.as_bytes = False  # without gradients: return spikes as uint8
        self.whole = False  # without gradients: one operation for torch's exporter

    @abstractmethod
    def decay(self, dtype: torch.dtype) -> Tensor:
        """1 / tau, of type `dtype`."""

    @property
    @abstractmethod
    def learned(self) -> Tensor | None:
        """The w whose sigmoid is `decay`, None if `decay` is constant."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Set what it learns to the values at initialisation."""

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        """x_seq [T, ...] to spikes [T, ...]."""
        if not isinstance(self.v, Tensor):  # at rest
            if not torch.is_grad_enabled():
                if x_seq.dtype == torch.float32:
                    decay = self.decay(torch.float32)
                    if self.whole:
                        return fire_whole(x_seq, decay, self.v_threshold)
                    return spikes(x_seq, decay, self.v_threshold, as_bytes=self.as_bytes)
            elif x_seq.device.type == "cpu":
                trained = self._trained
                if torch.compiler.is_compiling():  # for the code around it: the neuron is fused by itself
                    trained = torch.compiler.disable(trained)
                return trained(x_seq)
        out: Tensor = super().multi_step_forward(x_seq, *args, **kwargs)
        return out

    def _trained(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] with gradients."""
        decay = self.decay(torch.promote_types(x.dtype, torch.float32))
        return fire(x, decay, self.v_threshold, learned=self.learned, fused=self.fused)

    def onnx(self, steps: int) -> dict[Any, Callable[..., Any]]:
        """For torch's exporter: the ONNX form of the operation of a `whole` layer, for `steps` time steps."""
        return {torch.ops.autost_optuna.fire.default: onnx_fire(steps)}

    def distance(self, currents: Tensor, given: Tensor) -> float:
        """How far from the threshold potentials are, at most, where `given` spikes differ from its own, all [T, ...]."""
        return distance(currents, given, self.decay(currents.dtype), self.v_threshold)


def reset(module: nn.Module) -> None:
    """Put every neuron of `module` back to v = 0."""
    functional.reset_net(module)
