"""autost-optuna: training-free search of spiking transformers with the best trade of capacity against energy.

The names below are the public Python interface. Importing the package does not import torch.
"""

from typing import TYPE_CHECKING, Any

from autost_optuna.architecture import Architecture
from autost_optuna.candidate import Candidate
from autost_optuna.space import Space
from autost_optuna.task import Task

if TYPE_CHECKING:
    from autost_optuna.export import load
    from autost_optuna.model.transformer import SpikingTransformer
    from autost_optuna.objective import Objective, evaluate
    from autost_optuna.sampler import DeclaredNSGAIISampler
    from autost_optuna.table import read_table
    from autost_optuna.validity import validate

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Candidate",
    "DeclaredNSGAIISampler",
    "Objective",
    "Space",
    "SpikingTransformer",
    "Task",
    "evaluate",
    "load",
    "read_table",
    "validate",
]

_LAZY = {
    "Objective": "autost_optuna.objective",
    "evaluate": "autost_optuna.objective",
    "DeclaredNSGAIISampler": "autost_optuna.sampler",
    "SpikingTransformer": "autost_optuna.model.transformer",
    "load": "autost_optuna.export",
    "read_table": "autost_optuna.table",
    "validate": "autost_optuna.validity",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch or optuna when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """The public names, imported or not, and the package's own."""
    return sorted({*globals(), *__all__})
