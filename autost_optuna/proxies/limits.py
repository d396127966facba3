"""What a network demands of a chip, and by how much it exceeds the limits."""

from collections.abc import Sequence
from typing import NamedTuple

from autost_optuna import units
from autost_optuna.network.rows import Operation, Population
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import is_spiking
from autost_optuna.proxies.prices import ANYWHERE, AT_THE_ENDS, KIB, Limits

PREFIX = "chip_"  # of the names of constraints


class Demand(NamedTuple):
    """Neurons, connections with weights, the largest fan-in of a weighted sum, and KiB of weights.

    `multiplied` are the operations that multiply real values, by name, and `inside` those of them that neither read the
    input nor are the head.
    """

    neurons: int
    synapses: int
    fan_in: int
    weight_kib: float
    multiplied: tuple[str, ...]
    inside: tuple[str, ...]


def demand_of(operations: Sequence[Operation], populations: Sequence[Population], convention: Convention) -> Demand:
    """What a network demands; a convolution has a connection for every place where it uses a weight."""
    weighted = [operation for operation in operations if operation.weighted]
    multiplied = [operation for operation in operations if not is_spiking(operation, convention)]
    return Demand(
        neurons=sum(population.neurons for population in populations),
        synapses=sum(operation.macs for operation in weighted),
        fan_in=max((operation.fan_in for operation in weighted), default=0),
        weight_kib=convention.weight_bits * sum(operation.params for operation in operations) / KIB,
        multiplied=tuple(one.name for one in multiplied),
        inside=tuple(one.name for one in multiplied if one is not operations[0] and one.stage != "head"),
    )


def excesses(demand: Demand, limits: Limits) -> dict[str, float]:
    """By how much a network exceeds each limit, relative to it; at most 0 where it keeps it.

    Of multiplications of real values it is their number.
    """
    found = {}
    for name in ("neurons", "synapses", "fan_in", "weight_kib"):
        limit = getattr(limits, name)
        if limit is not None:
            found[f"{PREFIX}{name}"] = getattr(demand, name) / limit - 1
    if limits.multiplication != ANYWHERE:
        found[f"{PREFIX}multiplication"] = float(len(_refused(demand, limits)))
    return found


def refusal(demand: Demand, limits: Limits) -> str | None:
    """Why a network does not fit, None if it does."""
    reasons = []
    for name, noun in (("neurons", "neurons"), ("synapses", "synapses"), ("weight_kib", "KiB of weights")):
        limit, needed = getattr(limits, name), getattr(demand, name)
        if limit is not None and needed > limit:
            reasons.append(f"it has {_number(needed)} {noun}, at most {_number(limit)} fit")
    if limits.fan_in is not None and demand.fan_in > limits.fan_in:
        reasons.append(f"an output adds up {demand.fan_in:,} values, at most {limits.fan_in:,} are allowed")
    if limits.multiplication != ANYWHERE and (refused := _refused(demand, limits)):
        first, others = refused[0], len(refused) - 1
        who = f"{first} and {units.counted(others, 'other')} multiply" if others else f"{first} multiplies"
        allowed = (
            "allows only in the first operation and the head" if limits.multiplication == AT_THE_ENDS else "forbids"
        )
        reasons.append(f"{who} real values, which it {allowed}")
    return "; ".join(reasons) or None


def _refused(demand: Demand, limits: Limits) -> tuple[str, ...]:
    return demand.inside if limits.multiplication == AT_THE_ENDS else demand.multiplied


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def said(limits: Limits) -> str:
    """Limits in words."""
    parts = [
        f"{_number(getattr(limits, name))} {noun}"
        for name, noun in (
            ("neurons", "neurons"),
            ("synapses", "synapses"),
            ("fan_in", "values per output"),
            ("weight_kib", "KiB of weights"),
        )
        if getattr(limits, name) is not None
    ]
    if limits.multiplication != ANYWHERE:
        parts.append(f"multiplication of real values {limits.multiplication}")
    return ", ".join(parts)
