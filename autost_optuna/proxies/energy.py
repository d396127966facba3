"""Energy from a ledger and spike rates, under a named convention. Arithmetic only.

The charge of an operation over its steps, with rate 1 if its input is real-valued:

    mac_pj * MACs, or accumulate_pj * rate * MACs          arithmetic, or accumulates counted one by one
    + bit_pj * weight_bits * rate * MACs                   the weights that it reads; attention products read none
    + spike_pj * rate * values read                        the spikes that are sent to it
    + bit_pj * bits of the values that it reads            whether they are spikes or not
    + layer_pj * steps

Each population of neurons adds bit_pj * state_bits * 2 * neurons * steps (its state is read and written once per step),
update_pj * neurons * steps, and the bits of what it sends. The whole network adds step_pj * steps, and its idle power for
the latency of the inference. A convention charges what it has a price for. Always ignored: normalisation (folded into the
weights), pooling, residual additions, biases, and real values that an operation writes.
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
    stage, "static". `fixed_pj` is the part of the energy that does not depend on spikes.
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
    fixed_pj: float = 0.0

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
    given = Given(rates, accumulates, *_bit_prices(operations, convention, populations))
    charges = [charge_operation(operation, convention, given) for operation in operations]
    return [*charges, *_overheads(operations, convention, populations, given)]


def estimate_mj(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
    accumulates: Mapping[str, float] | None = None,
) -> float:
    """The sum of `estimate_energy` in mJ, to the last digit, in less time."""
    given = Given(rates, accumulates, *_bit_prices(operations, convention, populations))
    prices = [_price(operation, convention, given).energy_pj for operation in operations]
    others = [charge.energy_pj for charge in _overheads(operations, convention, populations, given)]
    return math.fsum([*prices, *others]) * 1e-9


def latency_ms(operations: Sequence[Operation], convention: Convention) -> float | None:
    """The latency of one inference in ms; None if the convention gives neither the time of a step nor MACs per second.

    MACs take their time whether spikes enter them or not.
    """
    macs = sum(operation.macs * _steps(operation, convention) for operation in operations)
    return convention.latency_ms(max(operation.steps for operation in operations), macs)


class Given(NamedTuple):
    """What was measured, and the prices in pJ of a bit of weights and of states in this network."""

    rates: Mapping[str, float]
    accumulates: Mapping[str, float] | None
    weight_pj: float
    state_pj: float


def _bit_prices(
    operations: Sequence[Operation], convention: Convention, populations: Sequence[Population] | None
) -> tuple[float, float]:
    if not convention.sized:
        return convention.weights.pj, convention.states.pj
    weights = convention.weight_bits * sum(operation.params for operation in operations)
    states = convention.state_bits * sum(population.neurons for population in populations or ())
    return convention.weights.price(weights), convention.states.price(states)


def _overheads(
    operations: Sequence[Operation], convention: Convention, populations: Sequence[Population] | None, given: Given
) -> list[Charge]:
    """What is charged beside operations."""
    charges = []
    if convention.charges_neurons:
        if populations is None:
            raise RuntimeError(f"{convention.name} charges the states of neurons, and no populations were given")
        charges = [charge_neurons(population, convention, given.state_pj) for population in populations]
    if operations and (convention.step_pj or convention.pj_per_mac):
        steps = max(operation.steps for operation in operations)
        macs = sum(operation.macs * _steps(operation, convention) for operation in operations)
        static_pj = convention.step_pj * steps + convention.pj_per_mac * macs
        whole = Population(name="static", stage="static", role="static", group="static", neurons=0, steps=steps)
        charges.append(_overhead(whole, "static", 0.0, static_pj))
    return charges


def charge_neurons(population: Population, convention: Convention, state_pj: float) -> Charge:
    """Its states are read and written once per step, and what it sends is written."""
    updates = population.neurons * population.steps
    bits = 2.0 * convention.state_bits * updates if state_pj else 0.0
    energy_pj = state_pj * bits + convention.neuron_update.pj * updates
    if convention.activation_bit is not None:
        sent = population.most.bit_length() * population.neurons
        energy_pj += convention.activation_bit.price(sent) * sent * population.steps
        bits += sent * population.steps
    return _overhead(population, "state", bits, energy_pj)


class Price(NamedTuple):
    """What is charged for an operation: its steps, rate and accumulates as in `Charge`, the bits moved and the energy in pJ.

    `fixed_pj` of it does not depend on spikes.
    """

    steps: int
    rate: float | None
    performed: float
    bits: float
    energy_pj: float
    fixed_pj: float


def _steps(operation: Operation, convention: Convention) -> int:
    """The steps that are charged."""
    return 1 if operation.still and convention.first_convolution == ONCE else operation.steps


def is_spiking(operation: Operation, convention: Convention) -> bool:
    """Whether spikes drive an operation: sums of several neurons' spikes do under most conventions."""
    return operation.driven_by != REAL and (operation.most == operation.levels or convention.integers != MAC)


def _price(operation: Operation, convention: Convention, given: Given) -> Price:
    steps = _steps(operation, convention)
    rates, accumulates = given.rates, given.accumulates
    rate = None
    performed: float = operation.macs * steps
    if is_spiking(operation, convention):
        if operation.name not in rates or (accumulates is not None and operation.name not in accumulates):
            raise RuntimeError(f"no spike rate was measured for {operation.name}; its energy cannot be stated")
        rate = rates[operation.name]
        performed = rate * performed if accumulates is None else accumulates[operation.name]
    bits = convention.weight_bits * performed if given.weight_pj and operation.weighted else 0.0
    unit = convention.mac if rate is None else convention.accumulate
    if rate is not None and operation.most > 1:
        unit = convention.integer_accumulate or unit
    energy_pj = unit.pj * performed + given.weight_pj * bits  # by default Horowitz, ISSCC 2014, figure 1.1.9
    fixed_pj = convention.layer.pj * steps + (energy_pj if rate is None else 0.0)
    sent_pj = 0.0
    if convention.spike.pj and operation.driven_by != REAL:  # sent, even if their sums are charged as real values
        sent_pj = convention.spike.pj * rates[operation.name] * operation.sizes.read * steps
    if convention.activation_bit is not None:
        read = bits_read(operation, convention)
        fixed_pj += convention.activation_bit.price(read) * read * steps
        bits += read * steps
    return Price(steps, rate, performed, bits, sent_pj + fixed_pj + (energy_pj if rate is not None else 0.0), fixed_pj)


def bits_read(operation: Operation, convention: Convention) -> int:
    """The bits of both operands in one step; a number of spikes has as many as it needs."""
    sizes, real = operation.sizes, convention.activation_bits
    driving = real if operation.driven_by == REAL else operation.most.bit_length()
    return sizes.read * driving + sizes.beside * (driving if sizes.both else real)


def charge_operation(operation: Operation, convention: Convention, given: Given) -> Charge:
    """What an operation costs. RuntimeError if it has no measured rate."""
    steps, rate, performed, bits, energy_pj, fixed_pj = _price(operation, convention, given)
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
        fixed_pj=fixed_pj,
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
        fixed_pj=energy_pj,
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
