"""autost-optuna: training-free search of spiking transformers with the best trade of capacity against energy.

The names below are the public Python interface. Importing the package does not import torch.
"""

from typing import TYPE_CHECKING, Any

from autost_optuna import moved
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.space.space import Space

if TYPE_CHECKING:
    from autost_optuna.delivery.export import load
    from autost_optuna.evidence.tabular import read_table
    from autost_optuna.evidence.validity import validate
    from autost_optuna.network.transformer import SpikingTransformer
    from autost_optuna.proxies.audit import audit
    from autost_optuna.search.evaluate import evaluate
    from autost_optuna.search.objective import Objective
    from autost_optuna.search.sampler import DeclaredNSGAIISampler

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Candidate",
    "DeclaredNSGAIISampler",
    "Objective",
    "Space",
    "SpikingTransformer",
    "Task",
    "audit",
    "evaluate",
    "load",
    "read_table",
    "validate",
]

_LAZY = {
    "Objective": "autost_optuna.search.objective",
    "evaluate": "autost_optuna.search.evaluate",
    "DeclaredNSGAIISampler": "autost_optuna.search.sampler",
    "SpikingTransformer": "autost_optuna.network.transformer",
    "audit": "autost_optuna.proxies.audit",
    "load": "autost_optuna.delivery.export",
    "read_table": "autost_optuna.evidence.tabular",
    "validate": "autost_optuna.evidence.validity",
}

moved.install()


def __getattr__(name: str) -> Any:
    """Import what needs torch or optuna on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """All names of the package: the public ones, imported yet or not, and those of the module."""
    return sorted({*globals(), *__all__})
