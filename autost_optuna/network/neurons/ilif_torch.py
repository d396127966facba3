"""The integer LIF neuron, computed.

h[t] = (1 - 1 / tau) v[t-1] + x[t]                      charge; v[0] = 0
s[t] = round(min(max(h[t] / threshold, 0), levels))     fire
v[t] = h[t] - s[t] threshold                            soft reset
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from spikingjelly.activation_based import surrogate
from spikingjelly.activation_based.neuron import ILIFNode
from torch import Tensor

from autost_optuna.network.neurons.ilif import ILIF
from autost_optuna.network.neurons.module import NeuronModule


class ILIFModule(NeuronModule, ILIFNode):  # type: ignore[misc]
    """SpikingJelly's integer LIF, whose gradient is 1 where h is between 0 and the largest number, as its authors have it."""

    def __init__(self, neuron: ILIF) -> None:
        super().__init__(
            neuron, tau=float(neuron.tau), surrogate_function=surrogate.MultiLevelSpikeCount(neuron.levels)
        )
        self.keep = 1 - 1 / self.tau

    def at_rest(self, x: Tensor) -> Tensor:
        """Whole numbers [T, ...] of currents x [T, ...]."""
        if self.whole:
            counted: Tensor = _fire_counts(x, self.keep, self.v_threshold, self.neuron.most)
            return counted
        counts = _counts(x, self.keep, self.v_threshold, self.neuron.most)
        if torch.compiler.is_exporting():
            return counts.clone(memory_format=torch.contiguous_format)  # other strides depend on how large a batch is
        return counts.to(torch.uint8) if self.as_bytes else counts

    def onnx(self, steps: int) -> dict[Any, Callable[..., Any]]:
        """For torch's exporter: the ONNX form of the operation of a `whole` layer, for `steps` time steps."""
        from onnxscript import opset18 as op

        def onnx(x: Any, keep: float, threshold: float, levels: int) -> Any:
            def fire(scaled: Any) -> Any:
                return op.Round(op.Clip(scaled, 0.0, float(levels)))

            currents = op.Split(x, axis=0, num_outputs=steps) if steps > 1 else [x]
            return op.Concat(*_unrolled(currents, keep, threshold, fire), axis=0)

        return {torch.ops.autost_optuna.fire_counts.default: onnx}

    def distance(self, currents: Tensor, given: Tensor) -> float:
        """How far potentials are from where rounding decides, at most, if `given` numbers differ from its own, all [T, ...]."""
        levels, found, v = self.neuron.most, [], torch.zeros_like(currents[0])
        for x, s in zip(currents, given, strict=True):
            h = v * self.keep + x
            above = torch.where(s > 0, (s - 0.5) * self.v_threshold - h, -torch.inf)
            below = torch.where(s < levels, h - (s + 0.5) * self.v_threshold, -torch.inf)
            found.append(torch.maximum(above, below).max().item())
            v = h - s * self.v_threshold
        return max(found)

    @property
    def written(self) -> str:
        """What is said to SpikingJelly's class beside tau and threshold."""
        return f"surrogate_function=surrogate.MultiLevelSpikeCount({self.neuron.most}),"

    def reset_parameters(self) -> None:
        """Does nothing: an integer LIF has no parameters."""


def _unrolled(currents: Iterable[Any], keep: float, threshold: float, fire: Callable[[Any], Any]) -> list[Any]:
    """All s. Values of an ONNX graph can stand for tensors, if `fire` takes them."""
    counts: list[Any] = []
    v: Any = None
    for x in currents:
        h = x if v is None else v * keep + x
        counts.append(fire(h / threshold))
        v = h - counts[-1] * threshold
    return counts


def _counts(x: Tensor, keep: float, threshold: float, levels: int) -> Tensor:
    return torch.stack(_unrolled(x.unbind(), keep, threshold, lambda scaled: scaled.clamp(0, levels).round()))


@torch.library.custom_op("autost_optuna::fire_counts", mutates_args=())
def _fire_counts(x: Tensor, keep: float, threshold: float, levels: int) -> Tensor:
    return _counts(x, keep, threshold, levels)


@_fire_counts.register_fake
def _(x: Tensor, keep: float, threshold: float, levels: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
