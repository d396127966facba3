"""Exact counts from the specification: MACs, FLOPs and parameters, each a sum over the ledger. Arithmetic only."""

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations, populations
from autost_optuna.network.task import Task


def count_macs(architecture: Architecture, task: Task) -> int:
    """Multiply-accumulates of weighted sums and attention products of one inference over all time steps."""
    return sum(operation.total_macs for operation in operations(architecture, task))


def count_flops(architecture: Architecture, task: Task) -> int:
    """FLOPs of one inference over all time steps, 2 x MACs: what torch's FlopCounterMode counts on the model."""
    return 2 * count_macs(architecture, task)


def count_params(architecture: Architecture, task: Task) -> int:
    """Learnable numbers of the model: weights, biases, normalisation, and one membrane time constant per layer of neurons."""
    layers = sum(population.params for population in populations(architecture, task))
    return layers + sum(operation.params for operation in operations(architecture, task))
