"""Convergence: the hypervolume of a search after every trial, and whether it has stopped rising."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import Box, Staircase

FRUITLESS = 5  # in units of the patience


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRule:
    """Converged: over the last `patience` trials the hypervolume rose by less than `tolerance` of itself."""

    patience: int = 200
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        if isinstance(self.patience, bool) or not isinstance(self.patience, int) or self.patience < 1:
            raise ValueError(f"patience {self.patience!r} is not a positive number of trials; use one such as 200")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance {self.tolerance!r} is not between 0 and 1; use one such as 0.001")


@dataclass(frozen=True, kw_only=True, slots=True)
class Convergence:
    """The evidence for a stop rule: the current hypervolume, and what the last trials added to it."""

    rule: StopRule
    trials: int
    hypervolume: float
    gain: float

    @property
    def converged(self) -> bool:
        """Whether the rule is met: never before `patience` trials, nor while no candidate dominates anything."""
        return self.trials > self.rule.patience and self.gain < self.rule.tolerance * self.hypervolume

    @property
    def share(self) -> float | None:
        """What the last trials added, as a share of the hypervolume; None if there are too few trials to tell."""
        looks_back = self.trials > self.rule.patience and self.hypervolume
        return self.gain / self.hypervolume if looks_back else None

    @property
    def fruitless(self) -> bool:
        """Whether so many trials gave no candidate in the box that more are pointless: all were infeasible or silent."""
        return self.trials > FRUITLESS * self.rule.patience and not self.hypervolume


def convergence_in_words(evidence: Convergence) -> str:
    """A sentence that says whether a search has converged, and why."""
    rule, trials = evidence.rule, units.counted(evidence.trials, "trial")
    said = "converged" if evidence.converged else "not converged"
    if evidence.trials <= rule.patience:
        return f"{said}: {trials}, and the rule looks back over {rule.patience:,}"
    if evidence.share is None:
        return f"{said}: no candidate of {trials} is inside the space's box"
    less = "less than" if evidence.converged else "not less than"
    return (
        f"{said}: hypervolume {evidence.hypervolume:.4f} rose by {100 * evidence.share:.2g} % over the "
        f"last {rule.patience:,} of {trials} ({less} {100 * rule.tolerance:g} %)"
    )


class Course:
    """The course of a search: the hypervolume in logarithmic axes after each trial, from the study's stored reference point.

    `None` stands for a trial without a candidate: a silent, infeasible or failed trial adds nothing, but counts.
    """

    def __init__(self, box: Box, candidates: Iterable[Candidate | None] = ()) -> None:
        self._box = box
        self._stairs = Staircase()
        self.hypervolumes: list[float] = []
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate | None) -> None:
        """Add the next trial."""
        if candidate is not None:
            self._stairs.add(*self._box.scaled(candidate.flops, candidate.energy_mj))
        self.hypervolumes.append(self._stairs.area)

    def evidence(self, rule: StopRule) -> Convergence:
        """The evidence for `rule` after the trials so far."""
        volumes = [0.0, *self.hypervolumes[-rule.patience - 1 :]]
        before = volumes[-rule.patience - 1] if len(volumes) > rule.patience else 0.0
        return Convergence(rule=rule, trials=len(self.hypervolumes), hypervolume=volumes[-1], gain=volumes[-1] - before)

    def trials_to(self, hypervolume: float) -> int | None:
        """The number of trials until `hypervolume` was reached, or None if it was not."""
        if not self.hypervolumes or self.hypervolumes[-1] < hypervolume:
            return None
        return bisect.bisect_left(self.hypervolumes, hypervolume) + 1
