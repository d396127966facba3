"""describe(): everything that can be known about an architecture before training."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autost_optuna import notebook, units
from autost_optuna.data import FOUR_DIGITS, Sample, rate_images
from autost_optuna.front.candidate import INITIALISATION, TRAINED, Candidate
from autost_optuna.front.constraints import Constraints
from autost_optuna.moved import regrouped
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.energy import Charge, latency_ms, total_mj
from autost_optuna.proxies.goals import GOALS
from autost_optuna.proxies.methods import BY_RATES, ONE_BY_ONE, methods
from autost_optuna.proxies.quantised import Quantised
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.search.evaluate import Measurement, assess

if TYPE_CHECKING:
    from autost_optuna.network.transformer import SpikingTransformer

RATE, EXACT = COUNTINGS = ("rate", "exact")


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """An architecture's candidate, the bill behind its energy, and the energy under both ways of counting.

    `counting` says how `charges` are counted: "rate" multiplies rates by MACs, "exact" counts accumulates one by one.
    `fingerprint` identifies the images.
    """

    candidate: Candidate
    task: Task
    convention: Convention
    counting: str
    charges: tuple[Charge, ...]
    rate_mj: float
    exact_mj: float
    quantised: Quantised
    fingerprint: str

    @property
    def latency_ms(self) -> float | None:
        """The latency of one inference in ms, if the convention gives it."""
        return latency_ms(operations(self.candidate.architecture, self.task), self.convention)

    @property
    def methods(self) -> str:
        """Sentences about the energy for a paper: prices with their sources, and what is not charged."""
        spikes = f"the network with {self.candidate.provenance}"
        return methods(self.convention, BY_RATES if self.counting == RATE else ONE_BY_ONE, spikes)

    def _repr_html_(self) -> str:
        """In a notebook: the candidate, and its bill by stage of the network."""
        total = total_mj(self.charges)
        rows = []
        for stage in dict.fromkeys(charge.stage for charge in self.charges):
            part = [charge for charge in self.charges if charge.stage == stage]
            energy, macs = total_mj(part), sum(charge.macs * charge.steps for charge in part)
            rows.append([stage, f"{macs:,}", units.significant(energy), f"{energy / total:.1%}" if total else ""])
        bill = notebook.table(["stage", "MACs, all steps", "mJ per image", "share"], rows, left=["stage"])
        return self.candidate._repr_html_() + bill


@regrouped(sample=Sample)
def describe(
    architecture: Architecture,
    task: Task,
    sample: Sample = FOUR_DIGITS,
    *,
    convention: Convention = DEFAULT,
    counting: str = RATE,
    trained: "SpikingTransformer | None" = None,
) -> Description:
    """An architecture's candidate on a sample of images, with the rate and energy of every operation.

    Rates are at initialisation under batch statistics, or those of a `trained` network of the architecture on test images.
    The ledger is proven on the network first. ValueError if `trained` has another architecture; RuntimeError if the proof
    fails. ValueError too if the network does not keep the limits of the convention's chip.
    """
    from autost_optuna.network.transformer import SpikingTransformer
    from autost_optuna.proxies.accumulates import measure_accumulates
    from autost_optuna.proxies.proof import prove_ledger
    from autost_optuna.proxies.rates import batch_statistics, measure_rates

    task.check(architecture)
    check_fits(architecture, task, convention)
    if counting not in COUNTINGS:
        raise ValueError(f"counting {counting!r} is unknown; use {' or '.join(COUNTINGS)}")
    if trained is not None and sample.seeds != 1:
        raise ValueError(f"seeds {sample.seeds}: trained weights have one; leave out --seeds")
    drawn = rate_images(task, sample, split="train" if trained is None else "test")
    rates: list[Mapping[str, float]] = []
    counted: list[Mapping[str, float]] = []
    for seed, batch in enumerate(drawn.images.chunk(sample.seeds), sample.seed):
        network = (SpikingTransformer(architecture, task, seed=seed) if trained is None else trained).to(sample.device)
        if seed == sample.seed:
            prove_ledger(network)
        with batch_statistics(network) if trained is None else contextlib.nullcontext():
            rates += measure_rates(network, batch)
            counted += measure_accumulates(network, batch)
    measured = Measurement(
        rates=rates,
        data=sample.data if trained is None else f"{sample.data} (test)",
        seed=sample.seed,
        seeds=sample.seeds,
        weights=INITIALISATION if trained is None else TRAINED,
    )
    by_rate = assess(architecture, task, measured, convention)
    exact = assess(architecture, task, replace(measured, accumulates=counted), convention)
    candidate, charges, quantised = by_rate if counting == RATE else exact
    return Description(
        candidate=candidate,
        task=task,
        convention=convention,
        counting=counting,
        charges=tuple(charges),
        rate_mj=by_rate[0].energy_mj,
        exact_mj=exact[0].energy_mj,
        quantised=quantised,
        fingerprint=drawn.fingerprint,
    )


def check_fits(architecture: Architecture, task: Task, convention: Convention) -> None:
    """ValueError if a network does not keep the limits of the convention's chip."""
    reason = Constraints().on(convention).refusal(architecture, task)
    if reason is not None and convention.limits is not None:
        raise ValueError(
            f"{architecture.to_text()} does not fit {convention.name}: {reason} ({convention.limits.source})"
        )


@regrouped(sample=Sample)
def describe_scores(
    architecture: Architecture, task: Task, sample: Sample = FOUR_DIGITS, *, convention: Convention = DEFAULT
) -> dict[str, float]:
    """All proxies of an architecture, by the names in `goals.GOALS`, on the images that `describe` uses at initialisation."""
    from autost_optuna.proxies.reuse import InitialRates

    drawn = rate_images(task, sample)
    rates = InitialRates(task, drawn.images, seed=sample.seed, seeds=sample.seeds, patterns=True)
    return measure_scores(architecture, rates, drawn.labels, tuple(GOALS), convention)
