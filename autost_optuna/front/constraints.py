"""Constraints: bounds on a candidate, in the form of Optuna's named constraints (at most 0 is feasible)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from autost_optuna import units
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task
from autost_optuna.proxies import limits
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.flops import count_flops, count_params


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraints:
    """Bounds on parameters, FLOPs and depth, which are counted, and on the energy in mJ per image, which is measured.

    None means no bound. ValueError if a bound is not positive, or a minimum is above its maximum. `chip` is a convention
    whose limits are kept too.
    """

    min_params: float | None = None
    max_params: float | None = None
    min_flops: float | None = None
    max_flops: float | None = None
    min_depth: int | None = None
    max_depth: int | None = None
    max_energy_mj: float | None = None
    chip: Convention | None = None

    def __post_init__(self) -> None:
        for name in BOUNDS:
            bound = getattr(self, name)
            number = isinstance(bound, int | float) and not isinstance(bound, bool)
            if bound is not None and not (number and math.isfinite(bound) and bound > 0):
                raise ValueError(f"{name} {bound!r} is not a positive number; give one, or leave it out")
        for name in ("params", "flops", "depth"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{name} {least:,g} is over max_{name} {most:,g}; swap them")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))

    def on(self, convention: Convention) -> "Constraints":
        """The same, with the limits of a convention's chip if it has some."""
        return replace(self, chip=convention if convention.limits else None)

    def __str__(self) -> str:
        bounds = (
            _between("params", self.min_params, self.max_params, units.count),
            _between("FLOPs", self.min_flops, self.max_flops, units.count),
            _between("depth", self.min_depth, self.max_depth, units.count),
            _between("energy", None, self.max_energy_mj, units.energy),
            self._limits_said(),
        )
        return ", ".join(filter(None, bounds)) or "no constraint"

    def of_counts(self, architecture: Architecture, task: Task) -> dict[str, float]:
        """The counted constraints, known before any measurement: the relative excess over each bound, by its name."""
        found: dict[str, float] = {}
        if self.min_params is not None or self.max_params is not None:
            found |= _excess("params", count_params(architecture, task), self.min_params, self.max_params)
        if self.min_flops is not None or self.max_flops is not None:
            found |= _excess("flops", count_flops(architecture, task), self.min_flops, self.max_flops)
        found |= _excess("depth", architecture.depth, self.min_depth, self.max_depth)
        if self.chip is None or self.chip.limits is None:
            return found
        return found | limits.excesses(_demand(architecture, task, self.chip), self.chip.limits)

    def of_energy(self, energy_mj: float) -> dict[str, float]:
        """The measured constraint: the relative excess of the energy over the bound, by its name."""
        return _excess("energy_mj", energy_mj, None, self.max_energy_mj)

    def refusal(self, architecture: Architecture, task: Task) -> str | None:
        """Why a network does not fit the chip; None if it does, or there is none."""
        if self.chip is None or self.chip.limits is None:
            return None
        return limits.refusal(_demand(architecture, task, self.chip), self.chip.limits)

    def _limits_said(self) -> str | None:
        if self.chip is None or self.chip.limits is None:
            return None
        return f"the limits of {self.chip.name} ({limits.said(self.chip.limits)})"


BOUNDS = tuple(field.name for field in fields(Constraints) if field.name != "chip")


def _demand(architecture: Architecture, task: Task, chip: Convention) -> limits.Demand:
    return limits.demand_of(*operations_and_populations(architecture, task), chip)


def violation(values: dict[str, float]) -> float:
    """The total violation of constraint values; 0 means feasible."""
    return sum(max(0.0, value) for value in values.values())


def _excess(name: str, value: float, least: float | None, most: float | None) -> dict[str, float]:
    found = {} if least is None else {f"min_{name}": 1 - value / least}
    return found if most is None else {**found, f"max_{name}": value / most - 1}


def _between(noun: str, least: float | None, most: float | None, said: Callable[[float], str]) -> str | None:
    """Bounds in words, or None without bounds."""
    if least is not None and most is not None:
        return f"{noun} {said(least)} to {said(most)}"
    if least is not None:
        return f"{noun} at least {said(least)}"
    return None if most is None else f"{noun} at most {said(most)}"
