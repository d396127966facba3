"""evaluate: an architecture's Candidate, without training. Objective: the same for an Optuna trial."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from autost_optuna.architecture import Architecture
from autost_optuna.candidate import Candidate
from autost_optuna.data import RateImages, rate_images
from autost_optuna.proxies import energy
from autost_optuna.proxies.flops import count_macs, count_params
from autost_optuna.proxies.operations import operations
from autost_optuna.space import Space
from autost_optuna.task import Task

if TYPE_CHECKING:
    from autost_optuna.proxies.spikes import InitialRates

# An untrained network with fresh running statistics fires at 0.0003 to 0.001, a live one at 0.1 to 0.2.
SILENT_RATE = 0.01


def evaluate(
    architecture: Architecture,
    rates: "InitialRates",
    *,
    convention: energy.Convention = energy.DEFAULT,
    data: str = "images",
) -> Candidate:
    """FLOPs, parameters (exact) and energy at initialisation (estimated) of an architecture; `data` names the images."""
    charges = energy.estimate_energy(operations(architecture, rates.task), rates.measure(architecture), convention)
    return _candidate(architecture, rates, charges, convention, data)


def _candidate(
    architecture: Architecture,
    rates: "InitialRates",
    charges: list[energy.Charge],
    convention: energy.Convention,
    data: str,
) -> Candidate:
    macs = count_macs(architecture, rates.task)
    rate = energy.mean_rate(charges)
    return Candidate(
        architecture=architecture,
        params=count_params(architecture, rates.task),
        macs=macs,
        flops=2 * macs,
        energy_mj=energy.total_mj(charges),
        mean_rate=rate,
        silent=rate < SILENT_RATE,
        convention=convention.name,
        data=data,
        images=len(rates.images),
        seed=rates.seed,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """An architecture's candidate and the bill behind its energy."""

    candidate: Candidate
    charges: tuple[energy.Charge, ...]


def describe(
    architecture: Architecture,
    task: Task,
    *,
    data: str = "digits",
    data_root: Path | None = None,
    images: int = 4,
    seed: int = 0,
    convention: str = energy.DEFAULT.name,
) -> Description:
    """An architecture's candidate on images of a data set, with every operation's rate and energy."""
    from autost_optuna.proxies.spikes import InitialRates

    task.check(architecture)
    costs = energy.Convention.preset(convention)
    drawn = rate_images(task, data=data, root=data_root, count=images, seed=seed)
    rates = InitialRates(task, drawn.images, seed=seed)
    charges = energy.estimate_energy(operations(architecture, task), rates.measure(architecture), costs)
    return Description(candidate=_candidate(architecture, rates, charges, costs, data), charges=tuple(charges))


class Objective:
    """Two objectives of an Optuna trial: FLOPs (maximise) and energy in mJ an image at initialisation (minimise).

    Works with any Optuna study of directions ("maximize", "minimize"). The candidate is stored as the trial's user
    attribute "candidate". A silent network's trial is pruned, with the reason as its attribute "silent": its energy would
    beat every other and mean nothing. An architecture seen before is not measured again.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        *,
        images: RateImages | None = None,
        data: str = "digits",
        data_root: Path | None = None,
        num_images: int = 4,
        convention: energy.Convention = energy.DEFAULT,
        seed: int = 0,
        cache_bytes: int | None = None,
    ) -> None:
        from autost_optuna.proxies.spikes import InitialRates

        space.check(task)
        self.space = space
        self.task = task
        self.images = images or rate_images(task, data=data, root=data_root, count=num_images, seed=seed)
        self.convention = convention
        limit = {} if cache_bytes is None else {"cache_bytes": cache_bytes}
        self.rates = InitialRates(task, self.images.images, seed=seed, **limit)
        self._known: dict[str, Candidate] = {}

    def remember(self, candidates: Iterable[Candidate]) -> None:
        """Take over candidates of earlier trials, so that their architectures are not measured again."""
        self._known.update((candidate.architecture.key, candidate) for candidate in candidates)

    def evaluate(self, architecture: Architecture) -> Candidate:
        """The candidate of an architecture, measured once."""
        if architecture.key not in self._known:
            self._known[architecture.key] = evaluate(
                architecture, self.rates, convention=self.convention, data=self.images.data
            )
        return self._known[architecture.key]

    def __call__(self, trial: optuna.Trial) -> tuple[float, float]:
        """(FLOPs, energy in mJ) of the architecture that the trial suggests."""
        candidate = self.evaluate(self.space.suggest(trial))
        trial.set_user_attr("candidate", candidate.to_dict())
        if candidate.silent:
            reason = f"silent network: mean spike rate {candidate.mean_rate:.2g}; check the images"
            trial.set_user_attr("silent", reason)
            raise optuna.TrialPruned(reason)
        return float(candidate.flops), candidate.energy_mj
