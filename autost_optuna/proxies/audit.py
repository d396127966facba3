"""The energy of any spiking network, from the operations that it carries out."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna import notebook, units
from autost_optuna.network.rows import REAL, Operation
from autost_optuna.proxies.convention import DEFAULT, EVERY_STEP, Convention
from autost_optuna.proxies.energy import estimate_energy
from autost_optuna.proxies.products import Uncounted
from autost_optuna.proxies.watch import Operand, Watch, Watched

COLUMNS = ("module", "operation", "calls", "MACs", "rate", "accumulates", "kind", "pJ", "share", "why")
LEFT = ("module", "operation", "kind", "why")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """An operation of a network in all its calls, per image.

    `module` is the path of the module that carries it out, "" for the network itself; `operation` what torch calls it, and
    `line` where the code stands. `kind` is "ac" if spikes drive it, else "mac". `driven_by` names the layers of neurons whose
    spikes do, and `reason` says why, or why none do. `rate` is the mean number of spikes per value that the driving operand
    holds, and `most` the largest; both None without spikes. `accumulates` are exact: a spike at the border of a convolution
    reaches fewer outputs, and where both operands are spikes, only those count that meet. `macs` and `accumulates` are
    whole numbers in sum over all images.
    """

    module: str
    operation: str
    line: str
    calls: int
    macs: float
    kind: str
    driven_by: tuple[str, ...]
    reason: str
    rate: float | None
    most: int | None
    accumulates: float | None
    energy_pj: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What a network costs per image under a convention. `uncharged` counts the values per image that it leaves out."""

    rows: tuple[AuditRow, ...]
    uncharged: Mapping[str, float]
    convention: str
    images: int

    @property
    def energy_mj(self) -> float:
        """Energy in mJ per image."""
        return math.fsum(row.energy_pj for row in self.rows) * 1e-9

    def __str__(self) -> str:
        """A table of the rows, and what they add up to."""
        cells = [COLUMNS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if column in LEFT else cell.rjust(width)
                for column, cell, width in zip(COLUMNS, row, widths, strict=True)
            ).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, self.in_words])

    def _repr_html_(self) -> str:
        """In a notebook: the same."""
        return notebook.titled(self.in_words, notebook.table(COLUMNS, self.cells(), left=LEFT))

    @property
    def in_words(self) -> str:
        """Its energy, and what it leaves out, in one line."""
        left = ", ".join(f"{what} of {values:,.0f} values" for what, values in self.uncharged.items())
        said = (
            f"{units.energy(self.energy_mj)} per image under {self.convention}, {units.counted(self.images, 'image')}"
        )
        return f"{said}; not charged: {left}" if left else said

    def cells(self) -> list[list[str]]:
        """The rows as text, in the order of COLUMNS."""
        total = math.fsum(row.energy_pj for row in self.rows)
        return [
            [
                row.module or "-",
                row.operation,
                str(row.calls),
                f"{row.macs:,.0f}",
                "" if row.rate is None else f"{row.rate:.4f}",
                "" if row.accumulates is None else f"{row.accumulates:,.0f}",
                row.kind.upper(),
                f"{row.energy_pj:,.0f}",
                f"{row.energy_pj / total:.1%}" if total else "",
                row.reason,
            ]
            for row in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "energy_mj": self.energy_mj}


def audit(
    network: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    convention: Convention = DEFAULT,
    *,
    images: int | None = None,
) -> Audit:
    """Run `network(*inputs)` once as it is, without gradients, and charge every product of matrices and convolution.

    An operand drives an operation if it depends on the input and all its values in the whole run are 0 or 1, or, if there is
    no such operand, whole numbers up to 255. Weights never do. Values that are all 0, or all 1, count as spikes only if a
    known spiking neuron sent them: SpikingJelly's, snnTorch's, Norse's or this package's. `images` is the size of the batch, by
    default the first dimension of the first input; give it if that is time. Neurons of SpikingJelly and snnTorch that keep
    their state are reset before and after; reset others yourself.

    ValueError if the convention charges states of neurons, fixed costs or a still image once, which no operation shows;
    RuntimeError names an operation that no rule counts, and its module.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else inputs
    first = given[0]
    if images is None and not (isinstance(first, Tensor) and first.dim() and len(first)):
        raise ValueError("the first input is no batch; give images, the number of inputs in it")
    check_convention(convention)
    return price(run_watched(network, given), convention, len(first) if images is None else images)


def check_convention(convention: Convention) -> None:
    """ValueError if a convention charges what operations do not show."""
    if convention.bit.pj or convention.step.pj:
        what = "the states of neurons or each step"
    elif convention.first_convolution != EVERY_STEP:
        what = "the first convolution of a still image once"
    else:
        return
    raise ValueError(f"{convention.label} charges {what}, which operations do not show; audit with another")


def run_watched(network: nn.Module, inputs: tuple[Any, ...]) -> Watch:
    """All operations of one run of a network, between two resets."""
    _reset(network)
    watch = Watch(network)
    try:
        with torch.no_grad():
            watch.run(*inputs)
    finally:
        _reset(network)
    return watch


def price(watch: Watch, convention: Convention, images: int) -> Audit:
    """The audit of a run on a batch of `images`."""
    rows = tuple(_row(row, convention, images) for row in watch.rows.values())
    uncharged = {what: values / images for what, values in watch.uncharged.items()}
    return Audit(rows=rows, uncharged=uncharged, convention=convention.label, images=images)


def _row(row: Watched, convention: Convention, images: int) -> AuditRow:
    spikes = _drivers(row.operands)
    reached = row.reached[2 if len(spikes) == 2 else row.operands.index(spikes[0])] if spikes else 0.0
    name = row.module or "the network itself"
    operation = Operation(
        name=name,
        stage="",
        role=row.kind,
        group="",
        macs=row.macs,
        steps=1,
        driven_by=name if spikes else REAL,
        most=max((one.most or 0 for one in spikes), default=1),
    )
    if math.isnan(reached):
        raise Uncounted(
            f"the weights of a convolution in {name} depend on the input and are spikes; its energy is unknown"
        )
    total = {name: sum(one.total for one in spikes) / max(1, sum(one.read for one in spikes))}
    (charge,) = estimate_energy([operation], total, convention, accumulates={name: reached})
    driven = charge.rate is not None
    return AuditRow(
        module=row.module,
        operation=row.kind,
        line=row.line,
        calls=row.calls,
        macs=row.macs / images,
        kind=charge.kind,
        driven_by=tuple(sorted(frozenset().union(*(one.neurons for one in spikes)))) if driven else (),
        reason=_reason(row.operands, spikes, driven),
        rate=charge.rate,
        most=operation.most if driven else None,
        accumulates=reached / images if driven else None,
        energy_pj=charge.energy_pj / images,
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


def _reset(network: nn.Module) -> None:
    """Reset neurons that keep their state from one call to the next."""
    for module in network.modules():
        libraries = {base.__module__.partition(".")[0] for base in type(module).__mro__}
        for library, method in (("spikingjelly", "reset"), ("snntorch", "reset_mem")):
            reset: Any = getattr(module, method, None)
            if library in libraries and reset is not None:
                reset()
