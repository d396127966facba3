"""Weights at initialisation: a separate random stream for every seed and place, drawn on the CPU."""

import hashlib
from typing import TypeVar

import torch
from torch import nn

from autost_optuna.network.neurons.module import NeuronModule

Module = TypeVar("Module", bound=nn.Module)


def stream(seed: int, *place: object) -> torch.Generator:
    """The random stream of `seed` at a place, whose repr identifies it."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def fresh(module: Module) -> Module:
    """`module` in CPU memory, with identity normalisation and neurons at their own tau; its weights are still to be set."""
    materialise(module)
    for layer in module.modules():
        if isinstance(layer, NeuronModule | nn.modules.batchnorm._BatchNorm):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"no rule initialises {type(layer).__name__}")
    return module


def materialise(module: nn.Module) -> None:
    """Move a module from the meta device to CPU memory that is not set. `to_empty` would import sympy, for half a second."""
    module._apply(lambda there: torch.empty(there.shape, dtype=there.dtype))
