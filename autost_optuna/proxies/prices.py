"""What a convention is made of: prices of events, memories of a given size, other figures, and the limits of a chip.

Each has its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from autost_optuna.files import check_keys

MOST_PJ = 1e9  # 1 mJ per event; more is a typing error
KIB = 8192  # bits
RANGES = {"idle_mw": (1e-9, 1e9), "step_us": (1e-6, 1e12), "macs_per_s": (1.0, 1e24)}  # others are typing errors
ANYWHERE, AT_THE_ENDS, NOWHERE = "anywhere", "at-the-ends", "nowhere"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Energy of one event in pJ, and the source of the figure."""

    pj: float
    source: str

    def check(self, name: str) -> None:
        """ValueError if it is no price; `name` is that of its event."""
        if not is_number(self.pj) or not 0 <= self.pj <= MOST_PJ:
            raise ValueError(f"{name} pj {_short(self.pj)} is not an energy in pJ up to 1e9; use a number such as 0.9")
        check_source(name, self.source, f"{self.pj} pJ comes")

    @classmethod
    def read(cls, name: str, data: object) -> "Cost":
        """Read the TOML form of the price `name`."""
        return cls(**_read(cls, name, data, ("pj", "source"), "pj = 0.9"))


FREE = Cost(pj=0.0, source="not charged")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Energy in pJ of a bit that is moved to or from a memory of `fits_kib` KiB, and `beyond` of one that it cannot hold.

    Without `fits_kib` it holds everything.
    """

    pj: float
    source: str
    fits_kib: float | None = None
    beyond: Cost | None = None

    def check(self, name: str) -> None:
        """ValueError if it is no price, or has only one of its size and the price beyond."""
        Cost(pj=self.pj, source=self.source).check(name)
        if self.fits_kib is not None and not (is_number(self.fits_kib) and 0 < self.fits_kib < 1e12):
            raise ValueError(f"{name} fits_kib {_short(self.fits_kib)} is not a size in KiB; use a number such as 512")
        if (self.fits_kib is None) != (self.beyond is None):
            raise ValueError(
                f"{name} needs both fits_kib and beyond, or neither; add the price of a bit that does not fit"
            )
        if self.beyond is not None:
            self.beyond.check(f"{name} beyond")

    def price(self, bits: float) -> float:
        """The mean price of a bit in pJ, if there are so many `bits` to hold and each is used as often."""
        if self.fits_kib is None or self.beyond is None or bits <= self.fits_kib * KIB:
            return self.pj
        inside = self.fits_kib * KIB / bits
        return inside * self.pj + (1 - inside) * self.beyond.pj

    @classmethod
    def read(cls, name: str, data: object) -> "Memory":
        """Read the TOML form of the price `name`."""
        found = _read(cls, name, data, ("pj", "source"), "pj = 0.02")
        if found.get("beyond") is not None:
            found["beyond"] = Cost.read(f"{name} beyond", found["beyond"])
        return cls(**found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sourced:
    """A figure above 0, in the unit that its name says, and its source."""

    value: float
    source: str

    def check(self, name: str) -> None:
        """ValueError if it is not a positive number."""
        low, high = RANGES[name]
        if not is_number(self.value) or not low <= self.value <= high:
            raise ValueError(
                f"{name} value {_short(self.value)} is not a number from {low:g} to {high:g}; use one such as 10"
            )
        check_source(name, self.source, f"{self.value} comes")

    @classmethod
    def read(cls, name: str, data: object) -> "Sourced":
        """Read the TOML form of the figure `name`."""
        return cls(**_read(cls, name, data, ("value", "source"), "value = 10"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a chip holds at most; None means no limit.

    `synapses` are connections: a weight that a convolution uses at many places counts as many. `fan_in` are the values that one
    output adds up. `weight_kib` are KiB of weights, each stored once. Real values are multiplied "anywhere", only
    "at-the-ends", in the operation that reads the input and in the head, which a host may compute, or "nowhere".
    """

    source: str
    neurons: int | None = None
    synapses: int | None = None
    fan_in: int | None = None
    weight_kib: float | None = None
    multiplication: str = ANYWHERE

    def check(self, name: str) -> None:
        """ValueError if a limit is not a positive number."""
        check_source(name, self.source, "they come")
        for field in ("neurons", "synapses", "fan_in", "weight_kib"):
            limit = getattr(self, field)
            whole = field == "weight_kib" or isinstance(limit, int)
            if limit is not None and not (whole and is_number(limit) and 0 < limit < 1e18):
                raise ValueError(
                    f"{name} {field} {_short(limit)} is not a positive {'' if field == 'weight_kib' else 'whole '}number"
                )
        if self.multiplication not in (ANYWHERE, AT_THE_ENDS, NOWHERE):
            raise ValueError(
                f"{name} multiplication {self.multiplication!r} is unknown; use {ANYWHERE}, {AT_THE_ENDS} or {NOWHERE}"
            )
        if self.multiplication == ANYWHERE and all(
            getattr(self, field) is None for field in ("neurons", "synapses", "fan_in", "weight_kib")
        ):
            raise ValueError(f"{name} set none; give one, such as neurons = 131072, or leave them out")

    @classmethod
    def read(cls, name: str, data: object) -> "Limits":
        """Read the TOML form."""
        return cls(**_read(cls, name, data, ("source",), "neurons = 131072"))


def _read(kind: type, name: str, data: object, needed: Sequence[str], example: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ValueError(f'{name} {data!r} has no source; write {name} = {{ {example}, source = "..." }}')
    return check_keys(name, data, [field.name for field in fields(kind)], needed)


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 40 else f"{said[:37]}..."


def check_source(name: str, source: object, said: str) -> None:
    """ValueError if a source is empty."""
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"{name} source {source!r} is empty; say where {said} from")


def is_number(value: object) -> bool:
    """Whether a value is a number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
