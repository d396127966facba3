"""The ledger: every weighted sum and attention product of the model, listed before anything is built.

An operation's name is the path of the module that computes it, so that the list can be proven against the built model
(`proof.prove_ledger`, and module by module under torch's FlopCounterMode in the tests). Normalisation (folded into the
weights), pooling and residual additions are not listed: they cost 0 by the field's convention. Neurons have a list of
their own, since some conventions charge their states.
"""

from dataclasses import dataclass

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task

REAL = "real-valued input"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """`macs` multiply-accumulates a step in each of `steps` steps, driven by the spikes of the neuron `driven_by` or `REAL`.

    `weighted` operations read weights, attention products do not; `still` ones see the same input at all steps.
    """

    name: str
    macs: int
    steps: int
    driven_by: str
    weighted: bool = True
    still: bool = False

    @property
    def total_macs(self) -> int:
        """MACs of one inference."""
        return self.macs * self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """The neurons of the layer `name`, each with one state that is updated in each of `steps` steps."""

    name: str
    neurons: int
    steps: int


def operations(architecture: Architecture, task: Task) -> list[Operation]:
    """All operations of one inference of one image, in the order in which the signal meets them."""
    steps = task.time_steps
    ledger = _stem(architecture.embed_dim, task)
    for index, hidden in enumerate(architecture.hidden_dims):
        ledger += _block(f"blocks.{index}", architecture.embed_dim, hidden, task.num_tokens, steps)
    ledger.append(
        Operation(name="head", macs=architecture.embed_dim * task.num_classes, steps=1, driven_by=REAL),
    )
    return ledger


def populations(architecture: Architecture, task: Task) -> list[Population]:
    """All layers of neurons, in the order in which the signal meets them."""
    dim, tokens = architecture.embed_dim, task.num_tokens
    counts = [
        (f"stem.neuron{i + 1}", width * task.sizes[i] ** 2) for i, width in enumerate((dim // 8, dim // 4, dim // 2))
    ]
    for index, hidden in enumerate(architecture.hidden_dims):
        for name in ("neuron", "q_neuron", "k_neuron", "v_neuron", "out_neuron"):
            counts.append((f"blocks.{index}.attention.{name}", tokens * dim))
        counts += [(f"blocks.{index}.mlp.neuron", tokens * dim), (f"blocks.{index}.mlp.hidden_neuron", tokens * hidden)]
    return [Population(name=name, neurons=neurons, steps=task.time_steps) for name, neurons in counts]


def _stem(dim: int, task: Task) -> list[Operation]:
    """Five 3x3 convolutions; the position convolution sees the pooled output of the fourth, which no neuron follows."""
    widths = (task.channels, dim // 8, dim // 4, dim // 2, dim, dim)
    names = ("conv1", "conv2", "conv3", "conv4", "position")
    drivers = (REAL, "stem.neuron1", "stem.neuron2", "stem.neuron3", REAL)
    return [
        Operation(
            name=f"stem.{names[i]}",
            macs=9 * widths[i] * widths[i + 1] * task.sizes[i] ** 2,
            steps=task.time_steps,
            driven_by=drivers[i],
            still=i == 0 and not task.events,
        )
        for i in range(5)
    ]


def _block(path: str, dim: int, hidden: int, tokens: int, steps: int) -> list[Operation]:
    """Attention, with the products in the order (q k^T) v, N^2 C each whatever the number of heads, then the MLP."""
    rows = (
        ("attention.q", tokens * dim * dim, "attention.neuron"),
        ("attention.k", tokens * dim * dim, "attention.neuron"),
        ("attention.v", tokens * dim * dim, "attention.neuron"),
        ("attention.qk", tokens * tokens * dim, "attention.q_neuron"),
        ("attention.av", tokens * tokens * dim, "attention.v_neuron"),
        ("attention.proj", tokens * dim * dim, "attention.out_neuron"),
        ("mlp.fc1", tokens * dim * hidden, "mlp.neuron"),
        ("mlp.fc2", tokens * hidden * dim, "mlp.hidden_neuron"),
    )
    return [
        Operation(
            name=f"{path}.{name}",
            macs=macs,
            steps=steps,
            driven_by=f"{path}.{driver}",
            weighted=name not in ("attention.qk", "attention.av"),
        )
        for name, macs, driver in rows
    ]
