"""NIR, the exchange format of neuromorphic hardware: the parts of a network that it has no node for.

NIR 1.0 has Affine, Conv, Flatten, SumPool, AvgPool, Threshold, Delay and the neurons LI, LIF, IF, CubaLIF. A node has one
input, to which all incoming edges add up. So NIR can express linear layers with folded normalisation, and residual
additions. Networks are never exported in part.
"""

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task


def inexpressible(architecture: Architecture, task: Task) -> dict[str, list[str]]:
    """The parts that NIR has no node for, by kind, each with the names of its modules."""
    ledger, layers = operations_and_populations(architecture, task)
    kinds = {
        "product of two spike trains (NIR has no node with two inputs)": [
            row.name for row in ledger if not row.weighted
        ],
        "max-pooling (NIR has sums and averages)": [row.name for row in ledger if row.pooled],
        "neuron that fires at its threshold, h >= v_threshold (NIR's LIF fires above it)": [row.name for row in layers],
        "mean over time (NIR has no node that sees several steps)": [row.name for row in ledger if row.stage == "head"],
    }
    return {kind: names for kind, names in kinds.items() if names}
