"""Judge the operations of a watched network, and price them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from autost_optuna import units
from autost_optuna.network.rows import REAL, Operation, Population, Sizes
from autost_optuna.proxies.audited import ITSELF, Audit, AuditRow
from autost_optuna.proxies.convention import EVERY_STEP, Convention
from autost_optuna.proxies.energy import Given, bits_read, charge_neurons, charge_operation, is_spiking
from autost_optuna.proxies.limits import Demand, refusal
from autost_optuna.proxies.methods import ONE_BY_ONE, methods
from autost_optuna.proxies.prices import KIB, Memory
from autost_optuna.proxies.products import Uncounted
from autost_optuna.proxies.watch import INPUT, Operand, Sent, Watch, Watched

KNOWN = "SpikingJelly's, snnTorch's, Norse's and autost-optuna's"


def check_convention(convention: Convention) -> None:
    """ValueError if a convention charges what operations do not show."""
    if convention.layer.pj:
        what = "each layer and step"
    elif convention.first_convolution != EVERY_STEP:
        what = "the first convolution of a still image once"
    else:
        return
    raise ValueError(f"{convention.label} charges {what}, which operations do not show; audit with another")


def price(watch: Watch, convention: Convention, images: int, steps: int | None = None) -> Audit:
    """The audit of a run on a batch of `images`, in so many time `steps`, by default those that its neurons took.

    ValueError if the convention charges neurons or steps and they are unknown, or the network does not keep its limits.
    """
    taken = _steps(watch, convention, steps)
    if convention.charges_neurons or (convention.limits and convention.limits.neurons):
        _check_known(watch, convention)
    held = watch.params * convention.weight_bits, watch.neurons(images) * convention.state_bits
    prices = convention.weights.price(held[0]), convention.states.price(held[1])
    run = _Run(images, taken, *prices)
    judged = [_judged(row) for row in watch.rows.values()]
    if convention.limits is not None:
        _check_limits(watch, judged, convention, run)
    rows = [_row(one, convention, run) for one in judged]
    macs = sum(row.macs for row in watch.rows.values())
    if convention.charges_neurons:
        rows += [_neurons(name, sent, convention, run) for name, sent in watch.sent.items()]
    if static_pj := convention.step_pj * taken + convention.pj_per_mac * macs / images:
        rows.append(_overhead("", "static", 1, static_pj))
    return Audit(
        rows=tuple(rows),
        uncharged={what: values / images for what, values in watch.uncharged.items()},
        convention=convention.label,
        images=images,
        latency_ms=convention.latency_ms(taken, macs / images),
        methods=methods(convention, ONE_BY_ONE, f"the network as given, run on {units.counted(images, 'input')}"),
    )


class _Run(NamedTuple):
    """The images and time steps of a run, and the prices of a bit of weights and of states in pJ."""

    images: int
    steps: int
    weight_pj: float
    state_pj: float


class _Judged(NamedTuple):
    """An operation of all images and steps, with the operands that drive it."""

    row: Watched
    drivers: list[Operand]
    operation: Operation


def _steps(watch: Watch, convention: Convention, given: int | None) -> int:
    """The time steps of the run, 1 if nothing depends on them."""
    limits, memory = convention.limits, convention.activation_bit
    matters = (
        convention.step_pj
        or convention.step_us
        or (memory is not None and memory.beyond is not None)
        or (limits is not None and limits.synapses is not None)
    )
    if given is not None or not matters:
        return 1 if given is None else given
    taken = sorted({sent.steps for sent in watch.sent.values()})
    if len(taken) == 1:
        return taken[0]
    found = f"its neurons take {' or '.join(map(str, taken))} steps" if taken else "no neuron in it is known"
    raise ValueError(f"{convention.label} charges by time steps, and {found}; give steps, their number, in Python")


def _check_known(watch: Watch, convention: Convention) -> None:
    """ValueError if spikes come from neurons that are not known."""
    where = watch.unknown
    for row in watch.rows.values():
        if any(not one.neurons for one in _drivers(row.operands)):
            where = where or row.module or ITSELF
    if where is not None:
        raise ValueError(
            f"{convention.label} charges or limits neurons, and {where} makes or reads spikes of none that are known "
            f"({KNOWN}); audit with another convention"
        )


def _check_limits(watch: Watch, judged: Sequence[_Judged], convention: Convention, run: _Run) -> None:
    """ValueError if a network does not keep the limits of a chip."""
    assert convention.limits is not None
    weighted = [one.operation for one in judged if one.operation.weighted]
    multiplied = [one.operation for one in judged if not is_spiking(one.operation, convention)]
    inside = [one for one in multiplied if one is not judged[0].operation and one is not judged[-1].operation]
    demand = Demand(
        neurons=watch.neurons(run.images),
        synapses=math.ceil(
            math.fsum(one.operation.macs / _steps_of(one.row, run) for one in judged if one.operation.weighted)
            / run.images
        ),
        fan_in=max((operation.fan_in for operation in weighted), default=0),
        weight_kib=watch.params * convention.weight_bits / KIB,
        multiplied=tuple(one.name for one in multiplied),
        inside=tuple(one.name for one in inside),
    )
    if reason := refusal(demand, convention.limits):
        raise ValueError(f"the network does not fit {convention.name}: {reason} ({convention.limits.source})")


def _steps_of(row: Watched, run: _Run) -> int:
    """The time steps of an operation: 1 if it reads fewer vectors than images times steps, such as a head that reads a mean."""
    return run.steps if row.outer % (run.steps * run.images) == 0 else 1


def _judged(row: Watched) -> _Judged:
    spikes = _drivers(row.operands)
    name = row.module or ITSELF
    others = [one for one in row.operands if not one.fixed]
    most = max([1, *(one.most or 0 for one in spikes)])
    first = spikes[0] if spikes else others[0] if others else Operand()
    operation = Operation(
        name=name,
        stage="",
        role=row.kind,
        group="",
        macs=row.macs,
        steps=1,
        driven_by=name if spikes else REAL,
        most=most,
        levels=most if all(one.neurons - INPUT and not one.summed for one in spikes) else 1,
        weighted=any(one.fixed for one in row.operands),
        sizes=Sizes(
            first.read, row.written, sum(one.read for one in others if one is not first), both=len(spikes) == 2
        ),
    )
    return _Judged(row, spikes, operation)


def _row(judged: _Judged, convention: Convention, run: _Run) -> AuditRow:
    row, spikes, operation = judged
    images, name = run.images, operation.name
    reached = row.reached[2 if len(spikes) == 2 else row.operands.index(spikes[0])] if spikes else 0.0
    if math.isnan(reached):
        raise Uncounted(
            f"the weights of a convolution in {name} depend on the input and are spikes; its energy is unknown"
        )
    rate = {name: spikes[0].total / max(1, spikes[0].read)} if spikes else {}
    memory = convention.activation_bit
    if memory is not None and memory.beyond is not None:
        read = bits_read(operation, convention) / images / _steps_of(row, run)
        convention = replace(convention, activation_bit=Memory(pj=memory.price(read), source=memory.source))
    charge = charge_operation(operation, convention, Given(rate, {name: reached}, run.weight_pj, run.state_pj))
    driven = charge.rate is not None
    return AuditRow(
        module=row.module,
        operation=row.kind,
        line=row.line,
        calls=row.calls,
        macs=row.macs / images,
        kind=charge.kind,
        driven_by=tuple(sorted(frozenset().union(*(one.neurons for one in spikes)) - INPUT)) if driven else (),
        reason=_reason(row.operands, spikes, driven),
        rate=charge.rate,
        most=operation.most if driven else None,
        accumulates=reached / images if driven else None,
        energy_pj=charge.energy_pj / images,
    )


def _neurons(name: str, sent: Sent, convention: Convention, run: _Run) -> AuditRow:
    """What a layer of neurons costs per image."""
    memory = convention.activation_bit
    if memory is not None and memory.beyond is not None:
        bits = sent.most.bit_length() * sent.values / run.images / max(1, sent.steps)
        convention = replace(convention, activation_bit=Memory(pj=memory.price(bits), source=memory.source))
    layer = Population(name=name, stage="", role="neurons", group="", neurons=sent.values, steps=1, most=sent.most)
    energy_pj = charge_neurons(layer, convention, run.state_pj).energy_pj / run.images
    return _overhead(name, "state", sent.calls, energy_pj)


def _overhead(module: str, kind: str, calls: int, energy_pj: float) -> AuditRow:
    """The row of a layer of neurons, or of fixed costs."""
    return AuditRow(
        module=module,
        operation="neurons" if kind == "state" else "static",
        line="",
        calls=calls,
        macs=0.0,
        kind=kind,
        driven_by=(),
        reason="",
        rate=None,
        most=None,
        accumulates=None,
        energy_pj=energy_pj,
    )


def _drivers(operands: tuple[Operand, Operand]) -> list[Operand]:
    """The operands that drive an operation: those of single spikes if there are any, else those of sums of spikes."""
    spikes = [one for one in operands if one.spikes]
    return [one for one in spikes if one.most == 1 or one.constant] or spikes


def _reason(operands: tuple[Operand, Operand], drivers: list[Operand], driven: bool) -> str:
    """Why an operation is charged as it is."""
    names = ("left", "right")
    if driven:
        if len(drivers) == 2:
            return "both operands are spikes"
        most = drivers[0].most or 0
        what = "spikes" if most <= 1 else f"a sum of up to {most} spikes"
        return f"the {names[operands.index(drivers[0])]} operand is {what}"
    found = []
    for name, one in zip(names, operands, strict=True):
        if one.fixed:
            continue
        if one.most is None:
            found.append(f"the {name} operand is real-valued")
        elif one.spikes:
            found.append(
                f"the {name} operand is a sum of up to {one.most} spikes, which the convention charges as MACs"
            )
        else:
            found.append(f"the {name} operand is {one.most} throughout, and no known neuron sent it")
    return "; ".join(found) or "no operand depends on the input"
