"""The same architecture as a quantised network without spikes, and the rate at which both cost the same. Arithmetic only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT, Convention
from autost_optuna.proxies.energy import Charge, estimate_energy, mean_rate, total_mj
from autost_optuna.proxies.operations import Operation, Population

INT8 = CONVENTIONS["horowitz-45nm-int8"]
MULTIPLY8_PJ = INT8.mac.pj - INT8.accumulate.pj
SOURCE = "bits: Yan et al., arXiv 2409.08290; 8-bit MAC: Horowitz, ISSCC 2014; fewer bits: PokeBNN, arXiv 2112.00133"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """The network without spikes, and what the spiking one must fire at to cost less.

    A code of T binary steps has T + 1 levels, so activations of `activation_bits` = ceil(log2(T + 1)) bits hold as much in
    one pass (Yan, Bai, Tang, Wong, arXiv 2409.08290). `int8_mj` pays every MAC of one step as an 8-bit MAC, 0.23 pJ;
    `activation_bits_mj` pays the multiplication in proportion to the bits of the activation, as ACE does (Zhang et al.,
    PokeBNN, arXiv 2112.00133). Where a convention charges bits, both read 8-bit weights and write and read each activation
    once; where it charges a step, they pay one.

    `break_even_rate` is the mean input rate, all rates scaled alike, at which the spiking network costs `int8_mj` under its own
    convention. None where there is none: it is then cheaper or dearer at every rate that can be, as it is at the one
    measured. `spiking_int8_mj` and `break_even_rate_int8` are the same with its arithmetic and weights in 8 bits too
    (horowitz-45nm-int8), which compares like with like.
    """

    activation_bits: int
    int8_mj: float
    activation_bits_mj: float
    break_even_rate: float | None
    spiking_int8_mj: float
    break_even_rate_int8: float | None


def compare_quantised(
    operations: Sequence[Operation],
    rates: Mapping[str, float],
    convention: Convention = DEFAULT,
    populations: Sequence[Population] | None = None,
    accumulates: Mapping[str, float] | None = None,
) -> Quantised:
    """The quantised counterpart of a network; arguments as of `estimate_energy`."""
    steps = max(operation.steps for operation in operations)
    bits = math.ceil(math.log2(steps + 1))
    macs = sum(operation.macs for operation in operations)
    weights = sum(operation.macs for operation in operations if operation.weighted)
    activations = sum(population.neurons for population in populations or ())

    def one_pass_pj(mac_pj: float, activation_bits: int) -> float:
        moved = 8 * weights + 2 * activation_bits * activations
        return mac_pj * macs + convention.bit.pj * moved + convention.step.pj

    narrow = replace(convention, name="8-bit arithmetic", mac=INT8.mac, accumulate=INT8.accumulate, weight_bits=8)
    own = estimate_energy(operations, rates, convention, populations, accumulates)
    in_int8 = estimate_energy(operations, rates, narrow, populations, accumulates)
    int8_pj = one_pass_pj(INT8.mac.pj, 8)
    return Quantised(
        activation_bits=bits,
        int8_mj=int8_pj * 1e-9,
        activation_bits_mj=one_pass_pj(INT8.accumulate.pj + MULTIPLY8_PJ * bits / 8, bits) * 1e-9,
        break_even_rate=_break_even(own, int8_pj),
        spiking_int8_mj=total_mj(in_int8),
        break_even_rate_int8=_break_even(in_int8, int8_pj),
    )


def _break_even(charges: Sequence[Charge], limit_pj: float) -> float | None:
    """The mean input rate at which a bill comes to `limit_pj`, all rates scaled alike, none beyond 1; None where none does.

    The bill is linear in the scale: what costs without any spike, plus the spikes' part times the scale.
    """
    spikes_pj = math.fsum(charge.energy_pj for charge in charges if charge.kind == "ac")
    left_pj = limit_pj - math.fsum(charge.energy_pj for charge in charges if charge.kind != "ac")
    highest = max((charge.rate for charge in charges if charge.rate is not None), default=0.0)
    if left_pj <= 0 or left_pj * highest >= spikes_pj:
        return None
    return left_pj / spikes_pj * mean_rate(charges)
