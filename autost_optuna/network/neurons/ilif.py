"""The integer LIF neuron (Luo et al., ECCV 2024, arXiv 2407.20708), with its authors' settings by default."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autost_optuna.network.neurons import check_neuron
from autost_optuna.network.values import as_count

if TYPE_CHECKING:
    from autost_optuna.network.neurons.ilif_torch import ILIFModule

MOST_LEVELS = 15  # so that a byte holds the sum of 16 (`counts`)


@dataclass(frozen=True, kw_only=True, slots=True)
class ILIF:
    """It sends a whole number of spikes up to `levels` in one step, and keeps the rest of its potential, less a leak by `tau`.

    Hardware sends them in `levels` binary steps, so each spike costs an accumulate. SDT-V3 divides the numbers by `levels`;
    here they stay whole.
    """

    word: ClassVar[str] = "ilif"
    params: ClassVar[int] = 0
    tau: float = 4 / 3
    threshold: float = 1.0
    levels: int = 4

    def __post_init__(self) -> None:
        check_neuron(self)
        given: Any = self.levels
        whole = isinstance(given, float) and given.is_integer()  # as a text gives it
        object.__setattr__(self, "levels", as_count("levels", int(given) if whole else given))
        if self.levels > MOST_LEVELS:
            raise ValueError(f"levels {self.levels} of a neuron are over the bound {MOST_LEVELS}; choose fewer")

    @property
    def most(self) -> int:
        """The levels."""
        return self.levels

    def module(self) -> "ILIFModule":
        """The twin."""
        from autost_optuna.network.neurons.ilif_torch import ILIFModule

        return ILIFModule(self)
