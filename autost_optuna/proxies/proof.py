"""Prove the ledger on a built network: each weighted layer and product has a row, and each row names its input's neurons."""

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.chain import operations
from autost_optuna.network.layers import Gate, Product
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.rows import REAL, Operation
from autost_optuna.network.transformer import SpikingTransformer

Look = Callable[[str, nn.Module, tuple[Tensor, ...]], None]

# All threads share hooks, the mode of normalisation and cuDNN's flags: hold this lock to change them.
MEASURING = threading.RLock()


def prove_ledger(model: SpikingTransformer) -> None:
    """RuntimeError unless `model` matches the ledger of its architecture and task, row by row and driver by driver."""
    ledger = operations(model.architecture, model.task)
    check_ledger(model, ledger)
    check_drivers(model, ledger)


def check_ledger(model: nn.Module, ledger: Sequence[Operation]) -> None:
    """RuntimeError unless every weighted layer and product of `model` has a row in the ledger, and vice versa."""
    built = {
        name
        for name, module in model.named_modules()
        if isinstance(module, Product) or any(p.dim() > 1 for p in module.parameters(recurse=False))
    }
    listed = {operation.name for operation in ledger}
    for names, what in (
        (built - listed, "is in the model, not in the ledger"),
        (listed - built, "is in the ledger only"),
    ):
        if names:
            raise RuntimeError(f"{min(names)} {what}; its energy cannot be stated")


class _Mark(torch.autograd.Function):
    """The identity, which records the name of a layer of neurons in the autograd graph."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, name: str) -> Tensor:
        ctx.name = name
        return spikes.view_as(spikes)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return *grads, None


# Nodes of the autograd graph that pass spikes on unchanged: they only reorder, repeat or take the maximum.
_PASSING = ("View", "UnsafeView", "Reshape", "Transpose", "Permute", "Clone", "Expand", "T", "MaxPool2DWithIndices")


def check_drivers(model: SpikingTransformer, ledger: Sequence[Operation]) -> None:
    """RuntimeError unless each operation's input comes from the spikes that the ledger names, or is real-valued as it says.

    The input is traced back through the autograd graph, on the meta device, to neurons and gates or to any computation. A
    stream of spikes is a sum; it must have as many summands as the ledger allows.
    """
    rows = {row.name: row for row in ledger}
    found: dict[str, list[str]] = {}

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        averages = getattr(module, "averages", False)  # of the spikes that enter it, which are real values then
        found[name] = [REAL] if averages else _sources(driving_input(module, inputs).grad_fn)

    def mark(name: str) -> Any:
        return lambda module, inputs, output: _Mark.apply(output, name)  # type: ignore[no-untyped-call]

    tensors = (*model.parameters(), *model.buffers())
    memo: dict[int, Any] = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    memo |= {id(tensor): nn.Parameter(memo[id(tensor)]) for tensor in model.parameters()}
    with MEASURING:  # another thread may be adding hooks to the model right now
        skeleton = copy.deepcopy(model, memo).eval()  # in training mode products are computed in another order
    for module in skeleton.modules():  # other hooks cannot handle tensors without values
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    marked = {name: module for name, module in skeleton.named_modules() if isinstance(module, NeuronModule | Gate)}
    for name, module in marked.items():
        module.register_forward_hook(mark(name))
    with torch.inference_mode(False), torch.enable_grad(), watching(skeleton, "", rows, look):
        skeleton(torch.empty(2, *model.task.input_shape, device="meta"))
    for name, row in rows.items():
        seen = found.get(name, ["nothing"])
        single = row.driven_by == REAL or row.driven_by in marked
        expected = [row.driven_by] if single else row.most // row.levels
        if (len(seen) if isinstance(expected, int) and REAL not in seen else seen) != expected:
            raise RuntimeError(
                f"{name} reads {' + '.join(seen)}, the ledger says {row.driven_by}; its energy cannot be stated"
            )


def _sources(node: Any) -> list[str]:
    """The neurons and gates whose spikes a value holds, or adds up; only `REAL` if any other computation takes part."""
    while node is not None and _kind(node) in _PASSING:
        node = node.next_functions[0][0]
    if node is not None and _kind(node) == "_Mark":
        return [node.name]
    if node is None or _kind(node) != "Add":
        return [REAL]
    summands = [following for following, _ in node.next_functions if following is not None]  # without constants
    added = [source for following in summands for source in _sources(following)]
    return [REAL] if REAL in added else added


def _kind(node: Any) -> str:
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


@contextmanager
def watching(part: nn.Module, prefix: str, names: Collection[str], look: Look) -> Iterator[None]:
    """Within the context, call `look(prefix + name, module, inputs)` before each of the modules `names` of `part` runs."""
    handles = [
        part.get_submodule(name).register_forward_pre_hook(lambda m, i, name=name: look(prefix + name, m, i))
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def driving_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """The input whose spikes drive a layer or product."""
    return inputs[module.driver if isinstance(module, Product) else 0]
