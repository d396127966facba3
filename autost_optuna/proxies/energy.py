"""Energy from a ledger and spike rates, under a named convention. Arithmetic only.

E = mac_pj * (MACs of operations driven by real values) + ac_pj * sum of (rate * MACs of operations driven by spikes),
each over all time steps. Ignored, by the field's convention: memory, normalisation (folded), neurons, pooling, residual
additions, and everything static.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autost_optuna.proxies.operations import REAL, Operation

_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Unit costs in pJ of a multiply-accumulate (real-valued input) and of an accumulate (spike), and their source."""

    name: str
    mac_pj: float
    ac_pj: float
    source: str

    @classmethod
    def preset(cls, name: str) -> "Convention":
        """The convention called `name`."""
        if name not in CONVENTIONS:
            raise ValueError(f"no energy convention {name!r}; choose one of {', '.join(CONVENTIONS)}")
        return CONVENTIONS[name]


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(name="horowitz-45nm-fp32", mac_pj=4.6, ac_pj=0.9, source=_HOROWITZ),
        Convention(name="horowitz-45nm-fp16", mac_pj=1.5, ac_pj=0.4, source=_HOROWITZ),
        Convention(name="horowitz-45nm-int8", mac_pj=0.23, ac_pj=0.03, source=_HOROWITZ),
    )
}
DEFAULT = CONVENTIONS["horowitz-45nm-fp32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One row of the bill: an operation, the mean of its input spikes a neuron a step (None where real-valued), its pJ."""

    operation: Operation
    rate: float | None
    energy_pj: float

    @property
    def kind(self) -> str:
        """ "mac" where a real value is multiplied, "ac" where a spike adds a weight."""
        return "mac" if self.rate is None else "ac"


def estimate_energy(
    operations: Sequence[Operation], rates: Mapping[str, float], convention: Convention = DEFAULT
) -> list[Charge]:
    """The bill of one inference: one charge an operation, `rates` by the name of the operation that the spikes enter.

    Raises RuntimeError where a spike-driven operation has no measured rate: nothing is ever left out in silence.
    """
    charges = []
    for operation in operations:
        if operation.driven_by == REAL:
            charges.append(Charge(operation=operation, rate=None, energy_pj=convention.mac_pj * operation.total_macs))
            continue
        if operation.name not in rates:
            raise RuntimeError(f"no spike rate was measured for {operation.name}; its energy cannot be stated")
        rate = rates[operation.name]
        charges.append(Charge(operation=operation, rate=rate, energy_pj=convention.ac_pj * rate * operation.total_macs))
    return charges


def total_mj(charges: Sequence[Charge]) -> float:
    """Sum of a bill in mJ (1 mJ = 1e9 pJ)."""
    return math.fsum(charge.energy_pj for charge in charges) * 1e-9


def mean_rate(charges: Sequence[Charge]) -> float:
    """Mean input spike rate over all spike-driven MACs."""
    driven = [(charge.operation.total_macs, charge.rate) for charge in charges if charge.rate is not None]
    return math.fsum(macs * rate for macs, rate in driven) / sum(macs for macs, _ in driven)
