"""The LIF neuron: leaky integrate-and-fire with a constant leak, as most published spiking transformers have it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.neurons import check_neuron

if TYPE_CHECKING:
    from autost_optuna.network.neurons.lif_torch import LIFModule


@dataclass(frozen=True, kw_only=True, slots=True)
class LIF:
    """Leaky integrate-and-fire with the time constant `tau` and a fixed `threshold`; nothing is learned."""

    word: ClassVar[str] = "lif"
    params: ClassVar[int] = 0
    most: ClassVar[int] = 1
    tau: float = 2.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        check_neuron(self)

    def module(self) -> "LIFModule":
        """The twin."""
        from autost_optuna.network.neurons.lif_torch import LIFModule

        return LIFModule(self)
