"""Rows of the ledger: what a network computes, and the neurons that drive it, each with the facts that others sum up.

An operation's name is the path of the module that computes it, so that the ledger can be proven against the built model
(`proof.prove_ledger`, and module by module under torch's FlopCounterMode in the tests). Only the proof and the measurement
of spikes use the name, to look up the module; the other fields say what a row means, and no code parses the name for that.
Normalisation (folded into the weights), pooling and residual additions have no rows: they cost 0 by the field's convention.
Neurons have rows of their own, because some conventions charge for their states.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

REAL = "real-valued input"


class Sizes(NamedTuple):
    """Values per step: those `read` from the operand that drives an operation, `beside` them from the other operand of a
    product, and those `written`. If `both` operands are neurons' spikes, either could drive it.
    """

    read: int
    written: int
    beside: int = 0
    both: bool = False


UNKNOWN = Sizes(0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """`macs` multiply-accumulates in each of `steps` steps, driven by the spikes of the neuron `driven_by` or by `REAL` values.

    `stage` is the part of the network that holds the operation: "stem", "blocks.0", ..., "head". `block` is the index of
    that block, None outside blocks. `role` says what the operation is, in whichever block: "attention.q", "stem.conv1".
    `group` is the line of an audit that it belongs to: "q, k, v". `params` counts its learnable numbers: weights, biases,
    and the gain and shift of the normalisation that follows it. `weighted` operations read weights; attention products do
    not. `still` operations see the same input at all steps. `pooled` ones are followed by max-pooling. `most` is the largest
    whole number that drives it: 1, or more where it reads a sum of spikes. `levels` is the largest without any addition: what
    its neurons send in one step, or what a gate lets pass. `sizes` are the values that it reads and writes per step.
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
    pooled: bool = False
    most: int = 1
    levels: int = 1
    sizes: Sizes = field(default=UNKNOWN, compare=False)

    @property
    def total_macs(self) -> int:
        """MACs of one inference."""
        return self.macs * self.steps

    @property
    def fan_in(self) -> int:
        """The values that each output adds up; of a convolution inside its borders."""
        return -(-self.macs // self.sizes.written) if self.sizes.written else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """The neurons of the layer `name`, each with one state that is updated in each of `steps` steps.

    `stage`, `block`, `role` and `group` are as in `Operation`. `params` counts the layer's own learnable numbers, such as
    the one time constant that parametric neurons share, which belongs to no operation. They send whole numbers up to `most`.
    """

    name: str
    stage: str
    role: str
    group: str
    neurons: int
    steps: int
    block: int | None = None
    params: int = 0
    most: int = 1


Row = Operation | Population
