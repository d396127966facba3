"""Energy from a ledger and spike rates, under a named convention. Arithmetic only.

A charge of an operation over its steps, with rate 1 where its input is real-valued:

    mac_pj * MACs, or accumulate_pj * rate * MACs          arithmetic
    + bit_pj * weight_bits * rate * MACs                   the weights that it reads; attention products read none

and where a convention has a cost for it, bit_pj * state_bits * 2 * neurons * steps a population of neurons (its state is
read and written once a step), and step_pj * steps for the whole network. Always ignored: normalisation (folded into the
weights), pooling, residual additions, biases, the traffic of activations and spikes.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from autost_optuna.proxies.operations import REAL, Operation, Population

EVERY_STEP, ONCE = "every-step", "once"
COSTS = ("mac", "accumulate", "bit", "step")
MOST_PJ = 1e9  # 1 mJ an event; more is a slip of the pen


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Energy of one event in pJ, and where the figure comes from."""

    pj: float
    source: str


FREE = Cost(pj=0.0, source="not charged")


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """What is paid for: a MAC (real-valued input), an accumulate (spike), a bit moved, and static energy a time step.

    `weight_bits` move for every weight that is read, `state_bits` for every neuron's state that is read or written.
    `first_convolution` says whether a still image's first convolution, the same at all steps, is paid "every-step" or "once".
    """

    name: str
    mac: Cost
    accumulate: Cost
    bit: Cost = FREE
    step: Cost = FREE
    weight_bits: int = 32
    state_bits: int = 32
    first_convolution: str = EVERY_STEP

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"name {self.name!r} is not a name for an energy convention; use a word such as my-chip")
        for name in COSTS:
            cost = getattr(self, name)
            if not _is_number(cost.pj) or not 0 <= cost.pj <= MOST_PJ:
                raise ValueError(f"{name} pj {cost.pj!r} is not an energy in pJ up to 1e9; use a number such as 0.9")
            if not isinstance(cost.source, str) or not cost.source.strip():
                raise ValueError(f"{name} source {cost.source!r} is empty; say where {cost.pj} pJ comes from")
        if not any(getattr(self, name).pj for name in COSTS):
            raise ValueError(f"{', '.join(COSTS)} all cost 0 pJ, so nothing is charged; give one of them a price")
        for name in ("weight_bits", "state_bits"):
            bits = getattr(self, name)
            if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 1024:
                raise ValueError(f"{name} {bits!r} is not a number of bits; use 1 to 1024, such as 32")
        if self.first_convolution not in (EVERY_STEP, ONCE):
            raise ValueError(f"first_convolution {self.first_convolution!r} is unknown; use {EVERY_STEP} or {ONCE}")

    @property
    def hash(self) -> str:
        """A fingerprint of the name and of all that decides an energy; wording of sources does not change it."""
        rules = self.to_dict()
        for name in COSTS:
            rules[name] = float(rules[name]["pj"])
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The name, with the hash where the name alone does not say which convention it is."""
        preset = CONVENTIONS.get(self.name)
        return self.name if preset and preset.hash == self.hash else f"{self.name} ({self.hash})"

    def to_dict(self) -> dict[str, Any]:
        """The form of a TOML file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Convention":
        """Read the form of `to_dict`. ValueError for wrong or missing keys, with the allowed ones."""
        _check_keys("energy convention", data, [field.name for field in fields(cls)], ("name", "mac", "accumulate"))
        costs = {}
        for name in COSTS:
            if name in data:
                if not isinstance(data[name], Mapping):
                    raise ValueError(
                        f'{name} {data[name]!r} has no source; write {name} = {{ pj = 0.9, source = "..." }}'
                    )
                _check_keys(name, data[name], ["pj", "source"], ("pj", "source"))
                costs[name] = Cost(**data[name])
        return cls(**{**data, **costs})

    @classmethod
    def preset(cls, name: str) -> "Convention":
        """The convention called `name`."""
        if name not in CONVENTIONS:
            raise ValueError(
                f"no energy convention {name!r}; choose one of {', '.join(CONVENTIONS)}, or give a FILE.toml"
            )
        return CONVENTIONS[name]

    @classmethod
    def load(cls, source: str) -> "Convention":
        """A preset by its name, or a user's own from FILE.toml, which may not take the name of a preset."""
        if not source.endswith(".toml"):
            return cls.preset(source)
        found = _read(Path(source))
        if CONVENTIONS.get(found.name, found).hash != found.hash:
            raise ValueError(
                f"{source} names itself {found.name} and differs from the convention of that name; rename it"
            )
        return found


def _read(path: Path) -> Convention:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check the path of the energy convention") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML ({error}); see examples/my_chip.toml for the form") from None
    try:
        return Convention.from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_keys(what: str, data: Mapping[str, Any], allowed: Sequence[str], required: Sequence[str]) -> None:
    for key in data:
        if key not in allowed:
            raise ValueError(f"unknown key {key!r} in {what}; allowed are {', '.join(allowed)}")
    for key in required:
        if key not in data:
            raise ValueError(f"{what} lacks the key {key!r}; allowed are {', '.join(allowed)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_PRESETS = ("horowitz-45nm-fp32", "horowitz-45nm-fp16", "horowitz-45nm-int8", "memory", "static-once")
CONVENTIONS: dict[str, Convention] = {
    name: _read(Path(__file__).parent / "conventions" / f"{name}.toml") for name in _PRESETS
}
DEFAULT = CONVENTIONS["horowitz-45nm-fp32"]
INT8 = CONVENTIONS["horowitz-45nm-int8"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One row of the bill.

    `kind` is "mac" where real values are multiplied, "ac" where spikes add weights, "state" for the traffic of a
    population's membrane potentials, "static" for what is paid whatever happens. `steps` are the steps that are paid for;
    `rate` is the mean of the input spikes a neuron a step, None where there are none; `moved_bits` are those of all steps.
    """

    name: str
    macs: int
    steps: int
    driven_by: str | None
    rate: float | None
    kind: Literal["mac", "ac", "state", "static"]
    moved_bits: float
    energy_pj: float

    @property
    def stage(self) -> str:
        """The part of the network that pays: stem, blocks.0, ..., head, static."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def estimate_energy(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
) -> list[Charge]:
    """The bill of one inference, `rates` by the name of the operation that the spikes enter.

    RuntimeError where a spike-driven operation has no measured rate, or where bits are charged and no populations are
    given: nothing is ever left out in silence.
    """
    charges = [_charge(operation, rates, convention) for operation in operations]
    if convention.bit.pj:
        if populations is None:
            raise RuntimeError(f"{convention.name} charges the states of neurons, and no populations were given")
        for population in populations:
            bits = 2.0 * convention.state_bits * population.neurons * population.steps
            charges.append(_overhead(population.name, population.steps, "state", bits, convention.bit.pj * bits))
    if convention.step.pj:
        steps = max(operation.steps for operation in operations)
        charges.append(_overhead("static", steps, "static", 0.0, convention.step.pj * steps))
    return charges


def _charge(operation: Operation, rates: Mapping[str, float], convention: Convention) -> Charge:
    once = operation.still and convention.first_convolution == ONCE
    steps = 1 if once else operation.steps
    rate = None
    if operation.driven_by != REAL:
        if operation.name not in rates:
            raise RuntimeError(f"no spike rate was measured for {operation.name}; its energy cannot be stated")
        rate = rates[operation.name]
    performed = operation.macs * steps if rate is None else rate * (operation.macs * steps)
    bits = convention.weight_bits * performed if convention.bit.pj and operation.weighted else 0.0
    unit = convention.mac if rate is None else convention.accumulate
    return Charge(
        name=operation.name,
        macs=operation.macs,
        steps=steps,
        driven_by=operation.driven_by,
        rate=rate,
        kind="mac" if rate is None else "ac",
        moved_bits=bits,
        energy_pj=unit.pj * performed + convention.bit.pj * bits,
    )


def _overhead(name: str, steps: int, kind: Literal["state", "static"], bits: float, energy_pj: float) -> Charge:
    return Charge(
        name=name, macs=0, steps=steps, driven_by=None, rate=None, kind=kind, moved_bits=bits, energy_pj=energy_pj
    )


def mean_rates(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several sets of rates, such as those of single images, operation by operation."""
    return {name: math.fsum(rates[name] for rates in samples) / len(samples) for name in samples[0]}


def total_pj(charges: Sequence[Charge]) -> float:
    """Sum of a bill in pJ, rounded once, so that it does not depend on the order of the rows."""
    return math.fsum(charge.energy_pj for charge in charges)


def total_mj(charges: Sequence[Charge]) -> float:
    """Sum of a bill in mJ (1 mJ = 1e9 pJ)."""
    return total_pj(charges) * 1e-9


def mean_rate(charges: Sequence[Charge]) -> float:
    """Mean input spike rate over all spike-driven MACs."""
    driven = [(charge.macs * charge.steps, charge.rate) for charge in charges if charge.rate is not None]
    return math.fsum(macs * rate for macs, rate in driven) / sum(macs for macs, _ in driven)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """The same architecture as a quantised network without spikes, and what the spiking one must fire at to beat it.

    A code of T binary steps has T + 1 levels, so activations of `bits` = ceil(log2(T + 1)) bits hold as much in one pass
    (Yan, Bai, Tang, Wong, arXiv 2409.08290). `int8_mj` pays every MAC of one step as an 8-bit MAC; `bits_mj` pays the
    multiplication in proportion to the bits of the activation, as in ACE (Zhang et al., PokeBNN, arXiv 2112.00133). Both
    read 8-bit weights at the convention's price of a bit. `break_even_rate` is the mean input rate at which the spiking
    network costs `int8_mj` under its own convention; None where its real-valued layers, states and static energy alone
    cost as much. `spiking_int8_mj` and `break_even_rate_int8` are the same with the spiking network's own arithmetic and
    weights in 8 bits, too, which compares like with like.
    """

    bits: int
    int8_mj: float
    bits_mj: float
    break_even_rate: float | None
    spiking_int8_mj: float
    break_even_rate_int8: float | None


MULTIPLY8_PJ = INT8.mac.pj - INT8.accumulate.pj


def compare_quantised(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
) -> Quantised:
    """The quantised counterpart of a network; arguments as of `estimate_energy`."""
    steps = max(operation.steps for operation in operations)
    bits = math.ceil(math.log2(steps + 1))
    macs = sum(operation.macs for operation in operations)
    moved_pj = 8 * convention.bit.pj * sum(operation.macs for operation in operations if operation.weighted)
    int8_pj = INT8.mac.pj * macs + moved_pj
    narrow = Convention(
        name="8-bit arithmetic",
        mac=INT8.mac,
        accumulate=INT8.accumulate,
        bit=convention.bit,
        step=convention.step,
        weight_bits=8,
        state_bits=convention.state_bits,
        first_convolution=convention.first_convolution,
    )
    own = estimate_energy(operations, rates, convention, populations)
    in_int8 = estimate_energy(operations, rates, narrow, populations)
    return Quantised(
        bits=bits,
        int8_mj=int8_pj * 1e-9,
        bits_mj=((INT8.accumulate.pj + MULTIPLY8_PJ * bits / 8) * macs + moved_pj) * 1e-9,
        break_even_rate=_break_even(own, int8_pj),
        spiking_int8_mj=total_mj(in_int8),
        break_even_rate_int8=_break_even(in_int8, int8_pj),
    )


def _break_even(charges: Sequence[Charge], limit_pj: float) -> float | None:
    """The mean input rate at which a bill comes to `limit_pj`, all rates scaled alike; None where no rate does.

    The bill is linear in the rates: fixed + (spikes' part / mean rate) * rate.
    """
    spikes_pj = math.fsum(charge.energy_pj for charge in charges if charge.kind == "ac")
    left_pj = limit_pj - math.fsum(charge.energy_pj for charge in charges if charge.kind != "ac")
    if left_pj <= 0 or not spikes_pj:
        return None
    return left_pj / spikes_pj * mean_rate(charges)
