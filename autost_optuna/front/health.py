"""Health: how informative a search and its two objectives are. If energy ranks as FLOPs do, any front is arbitrary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import nondominated, unique
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES
from autost_optuna.ranks import rank

# Above this share of non-dominated candidates, or this rank correlation, the two objectives say nearly the same: with a
# constant spike rate they are equivalent (Spearman 0.9999, three quarters of all candidates "Pareto-optimal").
DEGENERATE_SPEARMAN = 0.998
DEGENERATE_SHARE = 0.7
ENOUGH = 50  # with fewer architectures, the share says little about those not yet seen
ONE_SIDED_95 = 1.6449


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How informative the search and its objectives are: rank correlation (None below three candidates) and shares.

    `possible` is the number of architectures that the search may find, or None if unknown.
    """

    trials: int
    unique: int
    front_size: int
    spearman: float | None
    nondominated_share: float
    possible: int | None = None

    @property
    def unique_share(self) -> float | None:
        """The share of trials with distinct architectures; None without trials."""
        return self.unique / self.trials if self.trials else None

    @property
    def seen(self) -> float:
        """The share of the possible architectures that the search has seen: 1 if the space is exhausted, 0 if unknown."""
        return min(1.0, self.unique / self.possible) if self.possible else 0.0

    @property
    def spearman_at_least(self) -> float | None:
        """The lower bound of Spearman's correlation over all possible architectures: the correlation itself if all are seen.

        One-sided, 95 %, by Fisher's z with the variance (1 + r^2 / 2) / (n - 3) of Bonett and Wright (Psychometrika 65,
        2000), reduced for a sample from finitely many (Cochran 1977, eq. 2.20). If all ranks agree, z is infinite, so r is
        lowered by half an exchange of neighbours, 6 / (n (n^2 - 1)). None below four architectures, unless these are all
        that exist.
        """
        n, r, unseen = self.unique, self.spearman, 1 - self.seen
        if r is None or not unseen:
            return r
        if n < 4:
            return None
        r = max(-1.0, r - unseen * 6 / (n * (n * n - 1)))
        deviation = math.sqrt(unseen * (1 + r * r / 2) / (n - 3))
        return math.tanh(math.atanh(r) - ONE_SIDED_95 * deviation) if r > -1 else r

    @property
    def warning(self) -> str | None:
        """One plain sentence if the two objectives are nearly equivalent, else None.

        With few architectures, many are on the front whatever the objectives (H_n / n of n if they are unrelated: 75 % of
        two, 46 % of five), so a share counts only among 50 or more, or among all possible ones.
        """
        whole = self.seen == 1 and self.unique >= 3
        if self.nondominated_share > DEGENERATE_SHARE and (whole or self.unique >= ENOUGH):
            number = f"all {self.unique}" if self.front_size == self.unique else f"{self.nondominated_share:.0%}"
            of_all = "of the space's" if whole else "of the"
            return f"degenerate objectives: {number} {of_all} architectures are non-dominated, so the front says little"
        least = self.spearman_at_least
        if least is not None and least > DEGENERATE_SPEARMAN:
            return (
                f"degenerate objectives: energy ranks the architectures as FLOPs do (Spearman {self.spearman:.4f}), so the "
                "front says little"
            )
        return None


def health(candidates: Sequence[Candidate], possible: int | None = None) -> Health:
    """The health of a search among `possible` architectures, from the candidates of all its complete trials."""
    distinct = unique(candidates)
    front_size = len(nondominated(distinct))
    return Health(
        trials=len(candidates),
        unique=len(distinct),
        front_size=front_size,
        spearman=_spearman(distinct),
        nondominated_share=front_size / len(distinct) if distinct else 0.0,
        possible=possible,
    )


def correlations(candidates: Sequence[Candidate]) -> dict[str, dict[str, float | None]]:
    """Spearman's correlation of each score with FLOPs and energy: near 1 or -1 the score adds little to that objective."""
    distinct = unique(candidates)
    names = [name for name, _ in distinct[0].scores] if distinct else []
    return {name: {other: _spearman(distinct, (name, other)) for other in DEFAULT_OBJECTIVES} for name in names}


def _spearman(candidates: Sequence[Candidate], names: tuple[str, str] = DEFAULT_OBJECTIVES) -> float | None:
    first, second = ([candidate.value(name) for candidate in candidates] for name in names)
    found = rank(first, second)
    return None if found is None else found.spearman
