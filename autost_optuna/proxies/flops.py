"""Exact counts from the specification: MACs, FLOPs and parameters. Arithmetic only."""

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.operations import operations
from autost_optuna.network.task import Task


def count_macs(architecture: Architecture, task: Task) -> int:
    """Multiply-accumulates of weighted sums and attention products of one inference over all time steps."""
    return sum(operation.total_macs for operation in operations(architecture, task))


def count_flops(architecture: Architecture, task: Task) -> int:
    """FLOPs of one inference over all time steps, 2 x MACs: what torch's FlopCounterMode counts on the model."""
    return 2 * count_macs(architecture, task)


def count_params(architecture: Architecture, task: Task) -> int:
    """Learnable numbers of the model: weights, biases, normalisation, and one membrane time constant a neuron layer."""
    dim, classes = architecture.embed_dim, task.num_classes
    convolutions = (
        9
        * (
            task.channels * (dim // 8)
            + (dim // 8) * (dim // 4)
            + (dim // 4) * (dim // 2)
            + (dim // 2) * dim
            + dim * dim
        )
        + 2 * (dim // 8 + dim // 4 + dim // 2 + 2 * dim)
        + 3
    )
    blocks = sum(
        4 * (dim * dim + dim) + 8 * dim + 2 * hidden * dim + hidden + dim + 2 * hidden + 2 * dim + 7
        for hidden in architecture.hidden_dims
    )
    return convolutions + blocks + dim * classes + classes
