"""The parametric LIF neuron (Fang et al., ICCV 2021, arXiv 2007.05785), with AutoST's settings by default."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.neurons import check_neuron

if TYPE_CHECKING:
    from autost_optuna.network.neurons.plif_torch import PLIFModule


@dataclass(frozen=True, kw_only=True, slots=True)
class PLIF:
    """Leaky integrate-and-fire with one learned time constant per layer, which starts at `tau`, and a fixed `threshold`."""

    word: ClassVar[str] = "plif"
    params: ClassVar[int] = 1
    most: ClassVar[int] = 1
    tau: float = 2.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        check_neuron(self)

    def module(self) -> "PLIFModule":
        """The twin."""
        from autost_optuna.network.neurons.plif_torch import PLIFModule

        return PLIFModule(self)
