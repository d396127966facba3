"""What an audit found: the rows of a network, what they cost, and their forms."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autost_optuna import notebook, units

COLUMNS = ("module", "operation", "calls", "MACs", "rate", "accumulates", "kind", "pJ", "share", "why")
ITSELF = "the network itself"  # in place of an empty path
LEFT = ("module", "operation", "kind", "why")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """An operation of a network in all its calls, per image.

    `module` is the path of the module that carries it out, "" for the network itself; `operation` what torch calls it, and
    `line` where the code stands. `kind` is "ac" if spikes drive it, else "mac"; "state" are the costs of a layer of neurons,
    and "static" those of the whole network, if the convention charges them. `driven_by` names the layers of neurons whose
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
    """What a network costs per image under a convention. `uncharged` counts the values per image that it leaves out.

    `latency_ms` is that of one inference, if the convention gives it. `methods` are sentences for a paper: prices with their
    sources, and what is not charged.
    """

    rows: tuple[AuditRow, ...]
    uncharged: Mapping[str, float]
    convention: str
    images: int
    latency_ms: float | None = None
    methods: str = ""

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
        said += "" if self.latency_ms is None else f", latency {units.significant(self.latency_ms)} ms"
        return f"{said}; not charged: {left}" if left else said

    def cells(self) -> list[list[str]]:
        """The rows as text, in the order of COLUMNS."""
        total = math.fsum(row.energy_pj for row in self.rows)
        return [
            [
                row.module or "-",
                row.operation,
                str(row.calls),
                f"{row.macs:,.0f}" if row.macs else "",
                "" if row.rate is None else f"{row.rate:.4f}",
                "" if row.accumulates is None else f"{row.accumulates:,.0f}",
                row.kind.upper() if row.macs else row.kind,
                f"{row.energy_pj:,.0f}",
                f"{row.energy_pj / total:.1%}" if total else "",
                row.reason,
            ]
            for row in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "energy_mj": self.energy_mj}
