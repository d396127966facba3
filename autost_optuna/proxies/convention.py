"""Energy conventions: which events cost energy, how much, and the source of each price. They are data in TOML files."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autost_optuna.files import check_keys, read_toml
from autost_optuna.units import StrPath

EVERY_STEP, ONCE = "every-step", "once"
ACCUMULATES, MAC = "accumulates", "mac"
COSTS = ("mac", "accumulate", "bit", "step")
LONGEST_NAME = 64
MOST_PJ = 1e9  # 1 mJ per event; more is a typing error


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Energy of one event in pJ, and the source of the figure."""

    pj: float
    source: str


FREE = Cost(pj=0.0, source="not charged")


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Prices of a MAC (real-valued input), an accumulate (spike), a moved bit, and static energy per time step.

    `weight_bits` move for every weight that is read, `state_bits` for every neuron state that is read or written.
    `first_convolution` says whether the first convolution of a still image, which is the same at all steps, is charged
    "every-step" or "once". `integers` says how an operation is charged that reads sums of spikes, whole numbers above 1: as
    that many "accumulates", or as a "mac" of a real value.
    """

    name: str
    mac: Cost
    accumulate: Cost
    bit: Cost = FREE
    step: Cost = FREE
    weight_bits: int = 32
    state_bits: int = 32
    first_convolution: str = EVERY_STEP
    integers: str = ACCUMULATES

    def __post_init__(self) -> None:
        name = self.name
        if (
            not isinstance(name, str)
            or not 1 <= len(name) <= LONGEST_NAME
            or name != name.strip()
            or not name.isprintable()
        ):
            raise ValueError(
                f"name {str(name)[:80]!r} is not a name for an energy convention; use a word such as my-chip"
            )
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
        if self.integers not in (ACCUMULATES, MAC):
            raise ValueError(f"integers {self.integers!r} is unknown; use {ACCUMULATES} or {MAC}")

    @property
    def hash(self) -> str:
        """A fingerprint of the name and of everything that affects an energy, so not of the sources' wording."""
        rules = self.to_dict()
        for name in COSTS:
            rules[name] = rules[name]["pj"] + 0.0  # 0, 0.0 and -0.0 are one price
        if not self.bit.pj:
            del rules["weight_bits"], rules["state_bits"]
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The name, with the hash if the name alone does not identify the convention."""
        preset = CONVENTIONS.get(self.name)
        return self.name if preset and preset.hash == self.hash else f"{self.name}#{self.hash}"

    def to_dict(self) -> dict[str, Any]:
        """The dict of the TOML form; `integers` only where it is not the default, which 0.1.0 did not know."""
        fields = asdict(self)
        if self.integers == ACCUMULATES:
            del fields["integers"]
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Convention":
        """Read the form of `to_dict`. ValueError for wrong or missing keys names the allowed ones."""
        known = check_keys(
            "energy convention", data, [field.name for field in fields(cls)], ("name", "mac", "accumulate")
        )
        costs = {}
        for name in COSTS:
            if name in data:
                if not isinstance(data[name], Mapping):
                    raise ValueError(
                        f'{name} {data[name]!r} has no source; write {name} = {{ pj = 0.9, source = "..." }}'
                    )
                costs[name] = Cost(**check_keys(name, data[name], ("pj", "source")))
        return cls(**{**known, **costs})

    @classmethod
    def preset(cls, name: str) -> "Convention":
        """The convention called `name`."""
        if name not in CONVENTIONS:
            raise ValueError(
                f"no energy convention {name!r}; choose one of {', '.join(CONVENTIONS)}, or give a FILE.toml"
            )
        return CONVENTIONS[name]

    @classmethod
    def load(cls, source: StrPath) -> "Convention":
        """A preset by its name, or the user's own from FILE.toml, which may not take the name of a preset."""
        source = os.fspath(source)
        if not source.endswith(".toml"):
            return cls.preset(source)
        found = _read(Path(source))
        if CONVENTIONS.get(found.name, found).hash != found.hash:
            raise ValueError(
                f"{source} names itself {found.name} and differs from the convention of that name; rename it"
            )
        return found


def _read(path: Path) -> Convention:
    data = read_toml(path, "examples/my_chip.toml")
    try:
        return Convention.from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_PRESETS = ("horowitz-45nm-fp32", "horowitz-45nm-fp16", "horowitz-45nm-int8", "memory", "static-once", "integers-mac")
CONVENTIONS: dict[str, Convention] = {
    name: _read(Path(__file__).parent / "conventions" / f"{name}.toml") for name in _PRESETS
}
DEFAULT = CONVENTIONS["horowitz-45nm-fp32"]
