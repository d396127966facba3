"""Bills: the charges that add up to the energies of a front's picks, measured again on the study's images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.picks import Pick
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations, operations_and_populations
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.energy import Charge, charge_rows, estimate_energy, mean_by_operation
from autost_optuna.search.restore import make_objective
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Settings
from autost_optuna.units import StrPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A pick with the charges that add up to its energy."""

    pick: Pick
    charges: tuple[Charge, ...]


def bills_of(
    search: Search, picks: Sequence[Pick], data_root: StrPath | None = None, *, any_versions: bool = False
) -> list[Bill]:
    """The bills of picks. Rates are measured again on the images of the search, which takes about a second per pick.

    `data_root` is the folder of the images, by default the search's. ValueError if the images have changed or, unless
    `any_versions`, if the packages that affect a figure have.
    """
    objective, settings = make_objective(search.settings, data_root, any_versions=any_versions), search.settings
    bills = []
    for pick in picks:
        rates = mean_by_operation(objective.rates.measure(pick.candidate.architecture))
        bills.append(Bill(pick=pick, charges=charges_of(pick.candidate.architecture, settings, rates)))
    return bills


def charges_of(architecture: Architecture, settings: Settings, rates: Mapping[str, float]) -> tuple[Charge, ...]:
    """An architecture's charges under a study's convention at input spike rates by the name of the operation."""
    ledger, layers = operations_and_populations(architecture, settings.task)
    return tuple(estimate_energy(ledger, rates, settings.convention, layers))


def known_rows(candidate: Candidate, settings: Settings) -> list[dict[str, Any]]:
    """Rows of the audit without the study's images: everything except the effects of spikes, which are None."""
    driven = (row.name for row in operations(candidate.architecture, settings.task) if row.driven_by != REAL)
    rows = charge_rows(charges_of(candidate.architecture, settings, dict.fromkeys(driven, 0.0)))
    unknown = dict.fromkeys(("rate", "accumulates", "moved_bits", "energy_pj", "share"))
    total_pj = candidate.energy_mj * 1e9
    return [{**row, **(unknown if row["kind"] == "ac" else {"share": row["energy_pj"] / total_pj})} for row in rows]


def costliest(charges: Sequence[Charge], count: int) -> list[Charge]:
    """The charges with the most energy."""
    return sorted(charges, key=lambda charge: -charge.energy_pj)[:count]
