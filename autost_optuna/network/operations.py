"""The ledger: every weighted sum and attention product of the model, listed before anything is built.

An operation's name is the path of the module that computes it, so that the list can be proven against the built model
(`proof.prove_ledger`, and module by module under torch's FlopCounterMode in the tests). Only the proof and the measurement
of spikes use the name, to look up the module; the other fields say what a row means, and no code parses the name for that.
Normalisation (folded into the weights), pooling and residual additions have no rows: they cost 0 by the field's convention.
Neurons have a separate list, because some conventions charge for their states.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task

REAL = "real-valued input"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """`macs` multiply-accumulates in each of `steps` steps, driven by the spikes of the neuron `driven_by` or by `REAL` values.

    `stage` is the part of the network that holds the operation: "stem", "blocks.0", ..., "head". `block` is the index of
    that block, None outside blocks. `role` says what the operation is, in whichever block: "attention.q", "stem.conv1".
    `group` is the line of an audit that it belongs to: "q, k, v". `params` counts its learnable numbers: weights, biases,
    and the gain and shift of the normalisation that follows it. `weighted` operations read weights; attention products do
    not. `still` operations see the same input at all steps.
    """

    name: str
    stage: str
    role: str
    group: str
    macs: int
    steps: int
    driven_by: str
    block: int | None = None
    params: int = 0
    weighted: bool = True
    still: bool = False

    @property
    def total_macs(self) -> int:
        """MACs of one inference."""
        return self.macs * self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """The neurons of the layer `name`, each with one state that is updated in each of `steps` steps.

    `stage`, `block`, `role` and `group` are as in `Operation`. `params` counts the layer's own learnable numbers: the one
    time constant that its neurons share, which belongs to no operation.
    """

    name: str
    stage: str
    role: str
    group: str
    neurons: int
    steps: int
    block: int | None = None
    params: int = 0


def operations(architecture: Architecture, task: Task) -> list[Operation]:
    """All operations of one inference of one image, in the order of the signal."""
    dim, classes = architecture.embed_dim, task.num_classes
    ledger = [*_stem(dim, task)]
    for index, hidden in enumerate(architecture.hidden_dims):
        ledger += _block(index, dim, hidden, task)
    head = Operation(
        name="head",
        stage="head",
        role="head",
        group="head",
        macs=dim * classes,
        steps=1,
        driven_by=REAL,
        params=dim * classes + classes,
    )
    return [*ledger, head]


def populations(architecture: Architecture, task: Task) -> list[Population]:
    """All layers of neurons, in the order of the signal."""
    dim, tokens = architecture.embed_dim, task.num_tokens
    layers = [
        _population(None, f"stem.neuron{number}", width * side**2, task)
        for number, width, side in zip((1, 2, 3), (dim // 8, dim // 4, dim // 2), task.sizes, strict=False)
    ]
    for index, hidden in enumerate(architecture.hidden_dims):
        for name in ("neuron", "q_neuron", "k_neuron", "v_neuron", "out_neuron"):
            layers.append(_population(index, f"attention.{name}", tokens * dim, task))
        layers.append(_population(index, "mlp.neuron", tokens * dim, task))
        layers.append(_population(index, "mlp.hidden_neuron", tokens * hidden, task))
    return layers


def _population(block: int | None, role: str, neurons: int, task: Task) -> Population:
    """The neurons of a block, or of the stem. They are parametric: a layer learns its time constant."""
    stage = "stem" if block is None else f"blocks.{block}"
    return Population(
        name=role if block is None else f"{stage}.{role}",
        stage=stage,
        block=block,
        role=role,
        group="neuron states",
        neurons=neurons,
        steps=task.time_steps,
        params=1,
    )


def _stem(dim: int, task: Task) -> Iterator[Operation]:
    """Five 3x3 convolutions; the position convolution sees the pooled output of the fourth, which no neuron follows."""
    rows = (
        ("conv1", "convolutions", task.channels, dim // 8, REAL),
        ("conv2", "convolutions", dim // 8, dim // 4, "stem.neuron1"),
        ("conv3", "convolutions", dim // 4, dim // 2, "stem.neuron2"),
        ("conv4", "convolutions", dim // 2, dim, "stem.neuron3"),
        ("position", "position convolution", dim, dim, REAL),
    )
    for (name, group, read, written, driver), side in zip(rows, task.sizes, strict=True):
        yield Operation(
            name=f"stem.{name}",
            stage="stem",
            role=f"stem.{name}",
            group=group,
            macs=9 * read * written * side**2,
            steps=task.time_steps,
            driven_by=driver,
            params=9 * read * written + 2 * written,
            still=name == "conv1" and not task.events,
        )


def _block(index: int, dim: int, hidden: int, task: Task) -> Iterator[Operation]:
    """Attention, then the MLP. The products are in the order (q k^T) v and take N^2 C each, whatever the number of heads."""
    tokens, stage = task.num_tokens, f"blocks.{index}"
    rows = (  # values read and written per token; a layer has a bias and a normalisation, a product has no parameters
        ("attention.q", "q, k, v", dim, dim, "attention.neuron", True),
        ("attention.k", "q, k, v", dim, dim, "attention.neuron", True),
        ("attention.v", "q, k, v", dim, dim, "attention.neuron", True),
        ("attention.qk", "attention products", dim, tokens, "attention.q_neuron", False),
        ("attention.av", "attention products", tokens, dim, "attention.v_neuron", False),
        ("attention.proj", "projection", dim, dim, "attention.out_neuron", True),
        ("mlp.fc1", "MLP", dim, hidden, "mlp.neuron", True),
        ("mlp.fc2", "MLP", hidden, dim, "mlp.hidden_neuron", True),
    )
    for role, group, read, written, driver, weighted in rows:
        yield Operation(
            name=f"{stage}.{role}",
            stage=stage,
            block=index,
            role=role,
            group=group,
            macs=tokens * read * written,
            steps=task.time_steps,
            driven_by=f"{stage}.{driver}",
            params=read * written + 3 * written if weighted else 0,
            weighted=weighted,
        )
