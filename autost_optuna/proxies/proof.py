"""The ledger proven on a built network: every weighted layer and product has its row, and each row's input its neurons."""

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.network.blocks import Product
from autost_optuna.network.neuron import PLIF
from autost_optuna.network.operations import REAL, Operation, operations
from autost_optuna.network.transformer import SpikingTransformer

Look = Callable[[str, nn.Module, tuple[Tensor, ...]], None]

# Hooks, the mode of normalisation and cuDNN's flags belong to all threads of the process: who changes them holds this.
MEASURING = threading.RLock()


def prove_ledger(model: SpikingTransformer) -> None:
    """RuntimeError unless the ledger of its architecture and task is that of `model`, row by row and driver by driver."""
    ledger = operations(model.architecture, model.task)
    check_ledger(model, ledger)
    check_drivers(model, ledger)


def check_ledger(model: nn.Module, ledger: Sequence[Operation]) -> None:
    """RuntimeError unless every weighted layer and product of `model` has its row in the ledger, and the reverse."""
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
    """The identity, which leaves the name of a neuron layer in the graph of gradients."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, name: str) -> Tensor:
        ctx.name = name
        return spikes.view_as(spikes)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return *grads, None


# What hands spikes on as they are: nodes of the graph of gradients that only reorder, repeat or take the largest.
_PASSING = ("View", "UnsafeView", "Reshape", "Transpose", "Permute", "Clone", "Expand", "T", "MaxPool2DWithIndices")


def check_drivers(model: SpikingTransformer, ledger: Sequence[Operation]) -> None:
    """RuntimeError unless each operation's input comes from the neurons that the ledger names, or is real-valued as it says.

    The input is followed back through the graph of gradients, on the meta device, to the neurons or to anything that computes.
    """
    places = {row.name: row.driven_by for row in ledger}
    found: dict[str, str] = {}

    def look(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        node: Any = driving_input(module, inputs).grad_fn
        while node is not None and type(node).__name__.rstrip("0123456789").removesuffix("Backward") in _PASSING:
            node = node.next_functions[0][0]
        found[name] = node.name if isinstance(node, _Mark._backward_cls) else REAL  # type: ignore[attr-defined]

    def mark(name: str) -> Any:
        return lambda module, inputs, output: _Mark.apply(output, name)  # type: ignore[no-untyped-call]

    tensors = (*model.parameters(), *model.buffers())
    memo: dict[int, Any] = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    memo |= {id(tensor): nn.Parameter(memo[id(tensor)]) for tensor in model.parameters()}
    with MEASURING:  # another thread may be hooking the model right now
        skeleton = copy.deepcopy(model, memo).eval()  # in training products are computed in another order
    for module in skeleton.modules():  # what others hooked in is not for tensors without values
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    for name, module in skeleton.named_modules():
        if isinstance(module, PLIF):
            module.register_forward_hook(mark(name))
    with torch.inference_mode(False), torch.enable_grad(), watching(skeleton, "", places, look):
        skeleton(torch.empty(2, *model.task.input_shape, device="meta"))
    for name, driven_by in places.items():
        if found.get(name) != driven_by:
            raise RuntimeError(
                f"{name} reads {found.get(name, 'nothing')}, the ledger says {driven_by}; its energy cannot be stated"
            )


@contextmanager
def watching(part: nn.Module, prefix: str, names: Collection[str], look: Look) -> Iterator[None]:
    """Within the context, `look(prefix + name, module, inputs)` before each of the modules of `part` called `names` runs."""
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
    """The input of a layer or product whose spikes drive it."""
    return inputs[module.driver if isinstance(module, Product) else 0]
