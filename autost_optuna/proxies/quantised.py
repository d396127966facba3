"""The same architecture as a quantised network without spikes, and the rate at which both use the same energy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autost_optuna.network.rows import Operation, Population
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT, Convention
from autost_optuna.proxies.energy import Charge, estimate_energy, mean_rate, total_mj

INT8 = CONVENTIONS["horowitz-45nm-int8"]
MULTIPLY8_PJ = INT8.mac.pj - INT8.accumulate.pj
SOURCE = "bits: Yan et al., arXiv 2409.08290; 8-bit MAC: Horowitz, ISSCC 2014; fewer bits: PokeBNN, arXiv 2112.00133"

Cheaper = Literal["always", "never", "below", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """The network without spikes, and the rates at which the spiking network costs less.

    A code of T binary steps has T + 1 levels, so activations of `activation_bits` = ceil(log2(T + 1)) bits carry as much in
    one pass (Yan, Bai, Tang, Wong, arXiv 2409.08290); integer neurons of D levels send T D binary steps. `int8_mj` charges
    every MAC of one step as an 8-bit MAC, 0.23 pJ; `activation_bits_mj` charges the multiplication in proportion to the bits
    of the activation, as ACE does (Zhang et al., PokeBNN, arXiv 2112.00133). If the convention charges bits, both read 8-bit
    weights and write and read each activation once; if it charges steps, layers or idle power, both pay for one step.

    `break_even_rate` is the mean input rate at which the spiking network costs `int8_mj` under its own convention, when all
    rates and counted accumulates are scaled alike. It is None if no such rate exists. `cheaper` says when the spiking network
    costs less: "below" that rate, "always", "never", or "unknown" if it fired no spikes to scale. `spiking_int8_mj`,
    `break_even_rate_int8` and `cheaper_int8` are the same with its arithmetic and weights in 8 bits too (prices of
    horowitz-45nm-int8), which compares like with like; bits and steps keep the convention's prices.
    """

    activation_bits: int
    int8_mj: float
    activation_bits_mj: float
    break_even_rate: float | None
    cheaper: Cheaper
    spiking_int8_mj: float
    break_even_rate_int8: float | None
    cheaper_int8: Cheaper


def compare_quantised(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
    accumulates: Mapping[str, float] | None = None,
    charges: Sequence[Charge] | None = None,
) -> Quantised:
    """The quantised counterpart of a network; the arguments are those of `estimate_energy`, and `charges` its result."""
    steps = max(operation.steps for operation in operations)
    levels = max((population.most for population in populations or ()), default=1)
    bits = math.ceil(math.log2(steps * levels + 1))  # Yan et al., abstract
    macs = sum(operation.macs for operation in operations)
    weights = sum(operation.macs for operation in operations if operation.weighted)
    activations = sum(population.neurons for population in populations or ())

    weight_pj = convention.weights.price(8 * sum(operation.params for operation in operations))
    idle_pj = convention.step_pj + convention.layer.pj * len(operations) + convention.pj_per_mac * macs

    def one_pass_pj(mac_pj: float, activation_bits: int) -> float:
        sent = 2 * activation_bits * activations
        moved_pj = (convention.activation_bit or convention.states).price(sent / 2)
        if moved_pj == weight_pj:  # rounded as 0.1.0 does
            return mac_pj * macs + weight_pj * (8 * weights + sent) + idle_pj
        return mac_pj * macs + weight_pj * 8 * weights + moved_pj * sent + idle_pj

    narrow = replace(
        convention,
        name="8-bit arithmetic",
        mac=INT8.mac,
        accumulate=INT8.accumulate,
        integer_accumulate=None,
        weight_bits=8,
    )
    own = charges or estimate_energy(operations, rates, convention, populations, accumulates)
    in_int8 = estimate_energy(operations, rates, narrow, populations, accumulates)
    int8_pj = one_pass_pj(INT8.mac.pj, 8)  # Horowitz, figure 1.1.9
    (rate, cheaper), (rate_int8, cheaper_int8) = _break_even(own, int8_pj), _break_even(in_int8, int8_pj)
    return Quantised(
        activation_bits=bits,
        int8_mj=int8_pj * 1e-9,
        activation_bits_mj=one_pass_pj(INT8.accumulate.pj + MULTIPLY8_PJ * bits / 8, bits) * 1e-9,  # PokeBNN, ACE
        break_even_rate=rate,
        cheaper=cheaper,
        spiking_int8_mj=total_mj(in_int8),
        break_even_rate_int8=rate_int8,
        cheaper_int8=cheaper_int8,
    )


def _break_even(charges: Sequence[Charge], limit_pj: float) -> tuple[float | None, Cheaper]:
    """The mean input rate at which a bill equals `limit_pj`, and when the bill is below it.

    A bill is its cost without spikes plus the cost of the spikes times the scale of all rates, none of which can exceed the
    most that drives its operation. The rate is None if it would.
    """
    spikes_pj = math.fsum(charge.energy_pj - charge.fixed_pj for charge in charges)
    left_pj = limit_pj - math.fsum(charge.fixed_pj for charge in charges)
    highest = max((charge.rate / charge.most for charge in charges if charge.rate is not None), default=0.0)
    if left_pj <= 0:
        return None, "never"
    if not highest:
        return None, "unknown"
    if left_pj * highest >= spikes_pj:
        return None, "always"
    return left_pj / spikes_pj * mean_rate(charges), "below"  # a bill is linear in the scale of all rates
