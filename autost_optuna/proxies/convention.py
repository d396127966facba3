"""Energy conventions: which events cost energy, how much, and the source of each price. They are data in TOML files."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autost_optuna.files import check_keys, read_toml
from autost_optuna.proxies.prices import FREE, Cost, Limits, Memory, Sourced, is_number
from autost_optuna.units import StrPath

EVERY_STEP, ONCE = "every-step", "once"
ACCUMULATES, MAC = "accumulates", "mac"
COSTS = ("mac", "accumulate", "bit", "step")
NEWER = ("integer_accumulate", "neuron_update", "spike", "layer")  # which 0.1.0 did not know
MEMORIES = ("weight_bit", "state_bit", "activation_bit")
FIGURES = ("idle_mw", "step_us", "macs_per_s")
BITS = {
    "weight_bits": ("bit", "weight_bit"),
    "state_bits": ("bit", "state_bit"),
    "activation_bits": ("activation_bit",),
}
LONGEST_NAME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Prices of the events of an inference. Only those of a MAC (real-valued input) and an accumulate (spike) are needed.

    `integer_accumulate` is the price of an accumulate of an operation that reads numbers above 1, if it has one of its own.
    `bit` is that of a moved bit of weights and states; `weight_bit`, `state_bit` and `activation_bit` are prices of their
    own. `weight_bits` move for every weight that is read, `state_bits` for every neuron state that is read or written,
    `activation_bits` for every real value that is read, and as many as it needs for a number of spikes.
    `neuron_update` is charged per neuron and step, `spike` for every spike that enters an operation (of a product of two spike
    trains, for those of the operand that drives it), `layer` per operation and step, `step` per step. `idle_mw` is charged for
    the latency of an inference, which is `step_us` per step, or all MACs at `macs_per_s`. `limits` are those of the chip.

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
    integer_accumulate: Cost | None = None
    weight_bit: Memory | None = None
    state_bit: Memory | None = None
    activation_bit: Memory | None = None
    activation_bits: int = 32
    neuron_update: Cost = FREE
    spike: Cost = FREE
    layer: Cost = FREE
    idle_mw: Sourced | None = None
    step_us: Sourced | None = None
    macs_per_s: Sourced | None = None
    limits: Limits | None = None

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
        for name in (*COSTS, *NEWER, *MEMORIES, *FIGURES, "limits"):
            given: Cost | Memory | Sourced | Limits | None = getattr(self, name)
            if given is not None:
                given.check(name)
        events = [getattr(self, name) for name in (*COSTS, *NEWER, *MEMORIES)]
        beyond = [getattr(one, "beyond", None) for one in events]
        if self.idle_mw is None and not any(one is not None and one.pj for one in (*events, *beyond)):
            raise ValueError(
                "mac, accumulate and all others cost 0 pJ, so nothing is charged; give one of them a price"
            )
        for name in BITS:
            bits = getattr(self, name)
            if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 1024:
                raise ValueError(f"{name} {bits!r} is not a number of bits; use 1 to 1024, such as 32")
        if self.first_convolution not in (EVERY_STEP, ONCE):
            raise ValueError(f"first_convolution {self.first_convolution!r} is unknown; use {EVERY_STEP} or {ONCE}")
        if self.integers not in (ACCUMULATES, MAC):
            raise ValueError(f"integers {self.integers!r} is unknown; use {ACCUMULATES} or {MAC}")
        if self.step_us is not None and self.macs_per_s is not None:
            raise ValueError("step_us and macs_per_s both give the latency; give one of them")
        if self.idle_mw is not None and not self.timed:
            raise ValueError("idle_mw needs the latency of an inference; give step_us or macs_per_s too")

    @property
    def timed(self) -> bool:
        """Whether it gives the latency of an inference."""
        return self.step_us is not None or self.macs_per_s is not None

    @property
    def weights(self) -> Memory:
        """The price of a moved bit of weights."""
        return self.weight_bit or Memory(pj=self.bit.pj, source=self.bit.source)

    @property
    def states(self) -> Memory:
        """The price of a moved bit of states."""
        return self.state_bit or Memory(pj=self.bit.pj, source=self.bit.source)

    @property
    def charges_neurons(self) -> bool:
        """Whether neurons cost something by themselves."""
        return bool(self.states.pj or self.states.beyond or self.neuron_update.pj or self.activation_bit)

    @property
    def sized(self) -> bool:
        """Whether the price of a bit depends on how many the whole network has, so that energies are no sums over parts."""
        return any(memory is not None and memory.beyond is not None for memory in (self.weight_bit, self.state_bit))

    def latency_ms(self, steps: int, macs: float) -> float | None:
        """The latency in ms of an inference of `steps` steps and, in all of them, `macs` MACs; None if it is not timed."""
        if self.step_us is not None:
            return steps * self.step_us.value * 1e-3
        return None if self.macs_per_s is None else macs / self.macs_per_s.value * 1e3

    @property
    def step_pj(self) -> float:
        """What a step costs in any network: 1 mW for 1 us is 1000 pJ."""
        idle = self.idle_mw.value * self.step_us.value * 1e3 if self.idle_mw and self.step_us else 0.0
        return self.step.pj + idle

    @property
    def pj_per_mac(self) -> float:
        """What the idle power adds to every MAC, spikes or not: 1 mW for 1 s is 1e9 pJ."""
        return self.idle_mw.value / self.macs_per_s.value * 1e9 if self.idle_mw and self.macs_per_s else 0.0

    @property
    def hash(self) -> str:
        """A fingerprint of the name and of everything that affects an energy, so not of the sources' wording."""
        rules = self.to_dict()
        for name in (*MEMORIES, *FIGURES, "limits"):
            if name in rules:
                rules[name] = _as_floats(rules[name])
        for name in (*COSTS, *NEWER):
            if name in rules:
                rules[name] = rules[name]["pj"] + 0.0  # 0, 0.0 and -0.0 are one price
        held = {"weight_bits"} if self.limits is not None and self.limits.weight_kib is not None else set()
        for name, prices in BITS.items():
            priced = any(getattr(self, price) and (price != "bit" or self.bit.pj) for price in prices)
            if not priced and name not in held:
                rules.pop(name, None)
        return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The name, with the hash if the name alone does not identify the convention."""
        preset = CONVENTIONS.get(self.name)
        return self.name if preset and preset.hash == self.hash else f"{self.name}#{self.hash}"

    def to_dict(self) -> dict[str, Any]:
        """The dict of the TOML form. What 0.1.0 did not know is left out where it has its default."""
        old = (*COSTS, "name", "weight_bits", "state_bits", "first_convolution")
        found = {
            field.name: value
            for field, value in zip(fields(self), asdict(self).values(), strict=True)
            if field.name in old or getattr(self, field.name) != field.default
        }
        return {name: _filled(value) if isinstance(value, dict) else value for name, value in found.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Convention":
        """Read the form of `to_dict`. ValueError for wrong or missing keys names the allowed ones."""
        known = check_keys(
            "energy convention", data, [field.name for field in fields(cls)], ("name", "mac", "accumulate")
        )
        readers: dict[str, Any] = {
            **dict.fromkeys((*COSTS, *NEWER), Cost),
            **dict.fromkeys(MEMORIES, Memory),
            **dict.fromkeys(FIGURES, Sourced),
            "limits": Limits,
        }
        return cls(**{name: readers[name].read(name, v) if name in readers else v for name, v in known.items()})

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


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None, which TOML cannot say."""
    return {
        name: _filled(value) if isinstance(value, Mapping) else value
        for name, value in data.items()
        if value is not None
    }


def _as_floats(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without sources, and every number as a float, so that 1 and 1.0 are one."""
    found: dict[str, Any] = {n: _as_floats(value) if isinstance(value, Mapping) else value for n, value in data.items()}
    return {name: value + 0.0 if is_number(value) else value for name, value in found.items() if name != "source"}


def _read(path: Path) -> Convention:
    data = read_toml(path, "examples/my_chip.toml")
    try:
        return Convention.from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


_PRESETS = ("horowitz-45nm-fp32", "horowitz-45nm-fp16", "horowitz-45nm-int8", "memory", "static-once", "integers-mac")
CONVENTIONS: dict[str, Convention] = {
    name: _read(Path(__file__).parent / "conventions" / f"{name}.toml") for name in _PRESETS
}
DEFAULT = CONVENTIONS["horowitz-45nm-fp32"]
