"""Energy from a ledger and spike rates, under a named convention. Arithmetic only.

The charge of an operation over its steps, with rate 1 if its input is real-valued:

    mac_pj * MACs, or accumulate_pj * rate * MACs          arithmetic, or accumulates counted one by one
    + bit_pj * weight_bits * rate * MACs                   the weights that it reads; attention products read none

If the convention prices them, each population of neurons adds bit_pj * state_bits * 2 * neurons * steps (its state is read
and written once per step), and the whole network adds step_pj * steps. Always ignored: normalisation (folded into the
weights), pooling, residual additions, biases, and the traffic of activations and spikes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from autost_optuna.network.rows import REAL, Operation, Population
from autost_optuna.proxies.convention import DEFAULT, MAC, ONCE, Convention


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One row of the bill.

    `kind` is "mac" if real values are multiplied, "ac" if spikes add weights, "state" for the traffic of a population's
    membrane potentials, and "static" for fixed costs. `steps` counts the steps that are charged. `rate` is the mean number
    of input spikes per neuron and step, and `accumulates` are those that they cause in all steps; both are None without
    spikes. Where sums of spikes are read, up to `most`, the rate is the mean of these numbers. `moved_bits` covers all
    steps. `stage`, `block`, `role` and `group` come from the row of the ledger that is charged; fixed costs have their own
    stage, "static".
    """

    name: str
    stage: str
    role: str
    group: str
    macs: int
    steps: int
    driven_by: str | None
    rate: float | None
    accumulates: float | None
    kind: Literal["mac", "ac", "state", "static"]
    moved_bits: float
    energy_pj: float
    block: int | None = None
    most: int = 1

    @property
    def stage_title(self) -> str:
        """The stage in words: stem, block 0, ..., head, static."""
        return self.stage if self.block is None else f"block {self.block}"


COLUMNS = (
    "name",
    "macs",
    "steps",
    "driven_by",
    "rate",
    "accumulates",
    "kind",
    "moved_bits",
    "energy_pj",
)  # of an audit


def estimate_energy(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
    accumulates: Mapping[str, float] | None = None,
) -> list[Charge]:
    """The bill of one inference; `rates` are by the name of the operation that the spikes enter.

    Accumulates are rate x MACs unless they were counted: `accumulates`, by the same names. RuntimeError if a spike-driven
    operation has no measured rate, or if states are charged and no populations are given: nothing is left out silently.
    """
    charges = [_charge(operation, rates, convention, accumulates) for operation in operations]
    return [*charges, *_overheads(operations, convention, populations)]


def estimate_mj(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
    accumulates: Mapping[str, float] | None = None,
) -> float:
    """The sum of `estimate_energy` in mJ, to the last digit, in less time."""
    prices = [_price(operation, rates, convention, accumulates).energy_pj for operation in operations]
    others = [charge.energy_pj for charge in _overheads(operations, convention, populations)]
    return math.fsum([*prices, *others]) * 1e-9


def _overheads(
    operations: Sequence[Operation], convention: Convention, populations: Sequence[Population] | None
) -> list[Charge]:
    """What is charged beside operations."""
    charges = []
    if convention.bit.pj:
        if populations is None:
            raise RuntimeError(f"{convention.name} charges the states of neurons, and no populations were given")
        for population in populations:
            bits = 2.0 * convention.state_bits * population.neurons * population.steps
            charges.append(_overhead(population, "state", bits, convention.bit.pj * bits))
    if convention.step.pj:
        steps = max(operation.steps for operation in operations)
        whole = Population(name="static", stage="static", role="static", group="static", neurons=0, steps=steps)
        charges.append(_overhead(whole, "static", 0.0, convention.step.pj * steps))
    return charges


class Price(NamedTuple):
    """What is charged for an operation: its steps, rate and accumulates as in `Charge`, the bits moved and the energy in pJ."""

    steps: int
    rate: float | None
    performed: float
    bits: float
    energy_pj: float


def _price(
    operation: Operation,
    rates: Mapping[str, float],
    convention: Convention,
    accumulates: Mapping[str, float] | None,
) -> Price:
    once = operation.still and convention.first_convolution == ONCE
    steps = 1 if once else operation.steps
    rate = None
    performed: float = operation.macs * steps
    if operation.driven_by != REAL and (operation.most == operation.levels or convention.integers != MAC):
        if operation.name not in rates or (accumulates is not None and operation.name not in accumulates):
            raise RuntimeError(f"no spike rate was measured for {operation.name}; its energy cannot be stated")
        rate = rates[operation.name]
        performed = rate * performed if accumulates is None else accumulates[operation.name]
    bits = convention.weight_bits * performed if convention.bit.pj and operation.weighted else 0.0
    unit = convention.mac if rate is None else convention.accumulate
    energy_pj = unit.pj * performed + convention.bit.pj * bits  # by default Horowitz, ISSCC 2014, figure 1.1.9
    return Price(steps, rate, performed, bits, energy_pj)


def _charge(
    operation: Operation,
    rates: Mapping[str, float],
    convention: Convention,
    accumulates: Mapping[str, float] | None,
) -> Charge:
    steps, rate, performed, bits, energy_pj = _price(operation, rates, convention, accumulates)
    return Charge(
        name=operation.name,
        stage=operation.stage,
        block=operation.block,
        most=operation.most,
        role=operation.role,
        group=operation.group,
        macs=operation.macs,
        steps=steps,
        driven_by=operation.driven_by,
        rate=rate,
        accumulates=None if rate is None else performed,
        kind="mac" if rate is None else "ac",
        moved_bits=bits,
        energy_pj=energy_pj,
    )


def _overhead(row: Population, kind: Literal["state", "static"], bits: float, energy_pj: float) -> Charge:
    """The charges that are not for operations: states of neurons, and static energy."""
    return Charge(
        name=row.name,
        stage=row.stage,
        block=row.block,
        role=row.role,
        group=row.group,
        macs=0,
        steps=row.steps,
        driven_by=None,
        rate=None,
        accumulates=None,
        kind=kind,
        moved_bits=bits,
        energy_pj=energy_pj,
    )


def mean_by_operation(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several sets of rates or accumulates, such as one per image, operation by operation."""
    return {name: math.fsum(values[name] for values in samples) / len(samples) for name in samples[0]}


def total_pj(charges: Sequence[Charge]) -> float:
    """The sum of a bill in pJ, rounded only once, so that the order of the rows does not matter."""
    return math.fsum(charge.energy_pj for charge in charges)


def total_mj(charges: Sequence[Charge]) -> float:
    """The sum of a bill in mJ (1 mJ = 1e9 pJ)."""
    return total_pj(charges) * 1e-9


def charge_rows(charges: Sequence[Charge]) -> list[dict[str, Any]]:
    """Rows of the audit, each with its share of the total; `macs` are per step."""
    total = total_pj(charges)
    return [
        {
            **{column: getattr(charge, column) for column in COLUMNS},
            "share": charge.energy_pj / total if total else 0.0,
        }
        for charge in charges
    ]


def mean_rate(charges: Sequence[Charge]) -> float:
    """Mean input spike rate over all spike-driven MACs."""
    driven = [(charge.macs * charge.steps, charge.rate) for charge in charges if charge.rate is not None]
    return math.fsum(macs * rate for macs, rate in driven) / sum(macs for macs, _ in driven)
