"""Neurons. Each states, without torch, what can be chosen; its twin in *_torch.py computes spikes and their gradients.

`steps` holds the arithmetic and `module` what all twins share. A new neuron is two files, and one word in `kinds`.
"""

import math
from typing import Any, ClassVar, Protocol


class Neuron(Protocol):
    """A kind of neuron: a frozen value whose fields can be chosen.

    `word` names the kind: "plif". `params` counts the numbers that a layer learns.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # so that dataclasses.replace accepts it
    word: ClassVar[str]
    params: ClassVar[int]

    @property
    def most(self) -> int:
        """The largest number of spikes that it sends in one step."""
        ...

    @property
    def tau(self) -> float:
        """The time constant, in steps; at the start if it is learned."""
        ...

    @property
    def threshold(self) -> float:
        """The potential at which it fires."""
        ...

    def module(self) -> Any:
        """Its twin, a `NeuronModule`, on torch's current device; on the meta device its parameters have no values."""
        ...


def check_neuron(neuron: Neuron) -> None:
    """ValueError unless `tau` is a number above 1 and `threshold` one above 0."""
    for name, value, bound in (("tau", neuron.tau, 1), ("threshold", neuron.threshold, 0)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value > bound):
            raise ValueError(
                f"{name} {value!r} of a neuron is not a finite number above {bound}; give one, such as {bound + 1}"
            )
