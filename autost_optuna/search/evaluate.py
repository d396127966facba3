"""evaluate(): an architecture as a candidate, with its objectives counted and measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autost_optuna.front.candidate import INITIALISATION, MEASURED, TABLE, Candidate
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.energy import Charge, estimate_energy, estimate_mj, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.quantised import Quantised, compare_quantised

if TYPE_CHECKING:
    from autost_optuna.proxies.reuse import InitialRates
    from autost_optuna.proxies.table import RateTable


# An untrained network with fresh running statistics has rates of 0.0003 to 0.001, a live one 0.1 to 0.2.
SILENT_RATE = 0.01
# Behind attention rates are up to 0.004 in a live network, in all other places above 0.01. A network whose work is mostly left
# to layers that hardly fire costs little energy and computes little.
DEAD_RATE, MOST_DEAD = 0.001, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The rates of an architecture's operations, one set per image, seed after seed, and what they were measured on.

    `data` names the images. `seed` is the first of `seeds` seeds; `weights` says whether the weights are trained, and `source`
    whether the rates are measured or a table's. `accumulates` are counted ones, one set for each of the same images.
    """

    rates: Sequence[Mapping[str, float]]
    data: str
    seed: int
    seeds: int
    weights: str
    accumulates: Sequence[Mapping[str, float]] | None = None
    source: str = MEASURED


def evaluate(
    architecture: Architecture,
    rates: "InitialRates",
    *,
    convention: Convention = DEFAULT,
    data: str = "images",
    table: "RateTable | None" = None,
) -> Candidate:
    """FLOPs, parameters (exact) and energy at initialisation (estimated) of an architecture; `data` names the images.

    Its rates are measured, or those of a table of `rates`.
    """
    measured = Measurement(
        rates=rates.measure(architecture) if table is None else table.rates(architecture),
        data=data,
        seed=rates.seed,
        seeds=rates.seeds,
        weights=INITIALISATION,
        source=MEASURED if table is None else TABLE,
    )
    candidate, _, _ = assess(architecture, rates.task, measured, convention)
    return candidate


def assess(
    architecture: Architecture, task: Task, measured: Measurement, convention: Convention
) -> tuple[Candidate, list[Charge], Quantised]:
    """The candidate with the mean rates of a measurement, its bill, and its form without spikes."""
    samples, accumulates = measured.rates, measured.accumulates
    listed, layers = operations_and_populations(architecture, task)
    macs, images = sum(row.total_macs for row in listed), len(samples) // measured.seeds
    mean = mean_by_operation(samples)
    counted = None if accumulates is None else mean_by_operation(accumulates)
    charges = estimate_energy(listed, mean, convention, layers, counted)
    single = [
        estimate_mj(listed, rates, convention, layers, accumulates[index] if accumulates else None)
        for index, rates in enumerate(samples)
    ]
    quantised = compare_quantised(listed, mean, convention, layers, counted, charges)
    rate, dead = mean_rate(charges), dead_share(charges)
    candidate = Candidate(
        architecture=architecture,
        params=sum(row.params for row in listed) + sum(layer.params for layer in layers),
        macs=macs,
        flops=2 * macs,
        energy_mj=total_mj(charges),
        energies_mj=tuple(tuple(single[first : first + images]) for first in range(0, len(single), images)),
        mean_rate=rate,
        dead_share=dead,
        silent=rate < SILENT_RATE or dead > MOST_DEAD if measured.weights == INITIALISATION else rate == 0,
        quantised_mj=quantised.int8_mj,
        break_even_rate=quantised.break_even_rate,
        convention=convention.label,
        data=measured.data,
        images=images,
        seed=measured.seed,
        seeds=measured.seeds,
        weights=measured.weights,
        rates=measured.source,
    )
    return candidate, charges, quantised


def dead_share(charges: Sequence[Charge]) -> float:
    """The share of spike-driven MACs whose input spikes are rarer than `DEAD_RATE`."""
    driven = [(charge.macs * charge.steps, charge.rate) for charge in charges if charge.rate is not None]
    total = sum(macs for macs, _ in driven)
    return sum(macs for macs, rate in driven if rate < DEAD_RATE) / total if total else 0.0
