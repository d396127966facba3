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
    """[T, ...] currents to [T, ...] spikes. A twin has this class and one of SpikingJelly's, last, as its bases.

    At rest and without gradients a neuron takes a path that is faster and gives SpikingJelly's spikes bit for bit (a LIF's if
    1 / tau is exact). This path leaves no state behind. SpikingJelly, which has kernels for GPUs, computes all other cases.
    """

    def __init__(self, neuron: Neuron, **settings: object) -> None:
        super().__init__(**settings, v_threshold=float(neuron.threshold), detach_reset=True, step_mode="m")
        self.neuron = neuron
        self.fused = False
        self.as_bytes = False  # without gradients: return spikes as uint8
        self.whole = False  # without gradients: one operation for torch's exporter

    @abstractmethod
    def at_rest(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] of currents x [T, ...] in float32, without gradients and without state before or after."""

    @abstractmethod
    def onnx(self, steps: int) -> dict[Any, Callable[..., Any]]:
        """For torch's exporter: the ONNX form of the operation of a `whole` layer, for `steps` time steps."""

    @abstractmethod
    def distance(self, currents: Tensor, given: Tensor) -> float:
        """How far from the threshold potentials are, at most, where `given` spikes differ from its own, all [T, ...]."""

    @property
    @abstractmethod
    def written(self) -> str:
        """What is said to SpikingJelly's class beside tau and threshold, as source code."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Set what it learns to the values at initialisation."""

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        """x_seq [T, ...] to spikes [T, ...]."""
        at_rest = not isinstance(self.v, Tensor)
        if at_rest and not torch.is_grad_enabled() and x_seq.dtype == torch.float32:
            return self.at_rest(x_seq)
        out: Tensor = super().multi_step_forward(x_seq, *args, **kwargs)
        return out


class HardResetModule(NeuronModule):
    """The twins that are reset to 0: without gradients they skip the tensors of a backward pass.

    With gradients, on the CPU, they use `steps.fire`, which torch.compile fuses if `fused` and which leaves no state either.
    """

    def __init__(self, neuron: Neuron, **settings: float) -> None:
        resets = {"decay_input": True, "v_reset": 0.0, "surrogate_function": surrogate.Sigmoid(alpha=ALPHA)}
        super().__init__(neuron, **settings, **resets)

    @property
    def written(self) -> str:
        """What is said to SpikingJelly's class beside tau and threshold."""
        return f"decay_input=True, v_reset=0.0, surrogate_function=surrogate.Sigmoid(alpha={ALPHA}),"

    @abstractmethod
    def decay(self, dtype: torch.dtype) -> Tensor:
        """1 / tau, of type `dtype`."""

    @property
    @abstractmethod
    def learned(self) -> Tensor | None:
        """The w whose sigmoid is `decay`, None if `decay` is constant."""

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        """x_seq [T, ...] to spikes [T, ...]."""
        at_rest = not isinstance(self.v, Tensor)
        if at_rest and torch.is_grad_enabled() and x_seq.device.type == "cpu":
            trained = self._trained
            if torch.compiler.is_compiling():  # for the code around it: the neuron is fused by itself
                trained = torch.compiler.disable(trained)
            return trained(x_seq)
        return super().multi_step_forward(x_seq, *args, **kwargs)

    def at_rest(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] of 0 and 1."""
        decay = self.decay(torch.float32)
        if self.whole:
            return fire_whole(x, decay, self.v_threshold)
        return spikes(x, decay, self.v_threshold, as_bytes=self.as_bytes)

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
