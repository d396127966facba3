"""A layer of neurons in an exported graph: one operation for torch's exporter, and the ONNX operations that it stands for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autost_optuna.network.neurons.steps import spikes, unrolled


@torch.library.custom_op("autost_optuna::fire", mutates_args=())
def _fire(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    return spikes(x, decay, threshold)


@_fire.register_fake
def _(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def fire_whole(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    """`spikes` as one operation, which hides its steps from the exporter: that takes milliseconds for each operation."""
    fired: Tensor = _fire(x, decay, threshold)
    return fired


def onnx_fire(steps: int) -> Callable[..., Any]:
    """`spikes` for `steps` time steps in ONNX operations, which the values of a graph build from torch's own notation."""
    from onnxscript import opset18 as op

    def onnx(x: Any, decay: Any, threshold: float) -> Any:
        currents = op.Split(x, axis=0, num_outputs=steps) if steps > 1 else [x]
        _, fired = unrolled(currents, decay, threshold, op.Where)
        return op.CastLike(op.Concat(*fired, axis=0), x)

    return onnx
