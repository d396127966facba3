"""Evidence on proxies, and the findings: figures with intervals, as a table, as rows and in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from autost_optuna import notebook, units

LARGEST = 1e100  # largest target, so that differences stay finite
LEAST, MOST = 3, 50_000  # most architectures; more take minutes per proxy


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Figures of trained architectures, in one order: accuracies, for one or several seeds, and proxies.

    `target` names the accuracy, `labels` the architectures. `params` is the figure held fixed, and may be missing. With
    `lower`, less is better for target and proxies, as for energies.
    """

    target: str
    accuracies: tuple[tuple[float, ...], ...]
    proxies: Mapping[str, tuple[float, ...]]
    labels: tuple[str, ...]
    params: tuple[float, ...] | None = None
    lower: bool = False

    def __post_init__(self) -> None:
        number = len(self.accuracies)
        if number < LEAST:
            raise ValueError(
                f"{units.counted(number, 'architecture')} cannot be ranked against a proxy; give at least {LEAST}"
            )
        if number > MOST:
            raise ValueError(f"{number:,} architectures take too long to resample; give at most {MOST:,}")
        if not self.proxies:
            raise ValueError("no proxy is named; name one at least")
        lists = {**self.proxies, **({} if self.params is None else {"params": self.params}), "labels": self.labels}
        for name, values in lists.items():
            if len(values) != number:
                raise ValueError(
                    f"{name!r} has {len(values):,} values for {number:,} architectures; give one for each of them"
                )
        for label, seeds in zip(self.labels, self.accuracies, strict=True):
            if not seeds or not all(math.isfinite(value) for value in seeds):
                raise ValueError(
                    f"{self.target} has a value that is not a number; leave its architecture out ({label})"
                )
            if (most := max(seeds, key=abs)) and abs(most) > LARGEST:
                raise ValueError(
                    f"{self.target} of {label} is {most:g}; leave it out, or give values up to {LARGEST:g}"
                )
        for name, values in {self.target: self.means, **self.proxies}.items():
            if any(math.isnan(value) for value in values):
                raise ValueError(f"{name} has a value that is not a number; leave its architecture out")
            if len(set(values)) == 1:
                raise ValueError(f"{name} is {values[0]:g} for all architectures, which ranks nothing; leave it out")
        if any(math.isnan(value) for value in self.params or ()):
            raise ValueError("params has a value that is not a number; leave its architecture out")

    @property
    def means(self) -> tuple[float, ...]:
        """The accuracy of each architecture: the mean over its seeds."""
        return tuple(fmean(seeds) for seeds in self.accuracies)

    @property
    def better(self) -> str:
        """The word for better: "lower" or "higher"."""
        return "lower" if self.lower else "higher"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure and the ends of its interval, which are None if the figure is undefined in most resamples."""

    value: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0, so that the sign is known."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def text(self) -> str:
        """The figure with its interval: "0.56 (0.54 to 0.57)"."""
        return f"{self.value:.2f} ({self.interval})"

    @property
    def interval(self) -> str:
        """Only the ends."""
        return "unknown" if self.low is None else f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """Rank correlations among only the best, by mean accuracy and including ties at the border, and how many these are."""

    architectures: int
    kendall: Figure
    spearman: Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Regret:
    """The loss from training only the proxy's top `k`: how far their best falls short of the best of all.

    It is in units of the target; `random` is the mean loss of k architectures drawn at random.
    """

    k: int
    lost: float
    random: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """How much of the ranking is not noise of seeds, from `architectures` that were trained with several seeds.

    Correlations are of one seed with another, averaged over pairs of seeds. `most` is the Spearman correlation with means
    over `seeds` trainings that no proxy is expected to exceed: the root of the means' reliability (attenuation, Spearman
    1904), which follows from the formula of Spearman and Brown (1910).
    """

    architectures: int
    seeds: float
    kendall: Figure
    spearman: Figure
    top_tenth: Top | None
    top_fifth: Top | None
    most: Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict on a proxy: its correlations with accuracy, what it loses, and both in words.

    `agreeing` is the share of pairs that it puts in the order of accuracy, among those that neither ties. `fixed_params` is
    Spearman's rho with parameters held fixed, or None without parameters or if they order the proxy completely.
    """

    name: str
    kendall: Figure
    spearman: Figure
    top_tenth: Top | None
    top_fifth: Top | None
    fixed_params: Figure | None
    regret: tuple[Regret, ...]
    agreeing: float
    sentence: str
    warnings: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """All fields except the sentence, without nesting: each figure becomes its value and the ends of its interval."""
        figures = {"kendall": self.kendall, "spearman": self.spearman, "fixed_params": self.fixed_params}
        for name, top in (("top_tenth", self.top_tenth), ("top_fifth", self.top_fifth)):
            figures[f"{name}_kendall"] = None if top is None else top.kendall
            figures[f"{name}_spearman"] = None if top is None else top.spearman
        cells = {
            f"{name}{end}": None if figure is None else getattr(figure, part)
            for name, figure in figures.items()
            for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        lost = {f"{what}_{one.k}": getattr(one, what) for what in ("lost", "random") for one in self.regret}
        return {"proxy": self.name, **cells, "agreeing": self.agreeing, **lost, "warnings": list(self.warnings)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Proxies against `target`, best first, with 95 % intervals from `samples` resamples of the architectures."""

    target: str
    lower: bool
    architectures: int
    samples: int
    seed: int
    proxies: tuple[Verdict, ...]
    ceiling: Ceiling | None
    warnings: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The column names of `cells`."""
        regrets = [f"lost of top {one.k}" for one in self.proxies[0].regret]
        return ["proxy", "Kendall", "95 %", "Spearman", "95 %", "top tenth", "top fifth", "at fixed params", *regrets]

    @property
    def cells(self) -> list[list[str]]:
        """One row for people per proxy: Kendall's tau within the tops, Spearman's rho at fixed parameters."""
        return [
            [
                one.name,
                *(part for found in (one.kendall, one.spearman) for part in (f"{found.value:.2f}", found.interval)),
                *("-" if top is None else f"{top.kendall.value:.2f}" for top in (one.top_tenth, one.top_fifth)),
                "-" if one.fixed_params is None else f"{one.fixed_params.value:.2f}",
                *(units.significant(regret.lost) for regret in one.regret),
            ]
            for one in self.proxies
        ]

    def _repr_html_(self) -> str:
        """In a notebook: its table, sentences and warnings."""
        said = [verdict.sentence for verdict in self.proxies]
        warned = [*self.warnings, *(warning for verdict in self.proxies for warning in verdict.warnings)]
        return notebook.titled(
            f"{self.target}: {units.counted(self.architectures, 'architecture')}",
            notebook.table(self.columns, self.cells, left=["proxy"]),
            *(notebook.remark(line) for line in (*said, self.ceiling_sentence)),
            *(notebook.remark(f"warning: {line}") for line in warned),
        )

    @property
    def ceiling_sentence(self) -> str:
        """A sentence on how much of the ranking is not noise of seeds."""
        if self.ceiling is None:
            return f"no architecture has several seeds, so how much of {self.target} is chance is not known"
        found = self.ceiling
        chosen = "which the same seeds chose, so that it is no limit"
        top = "" if found.top_tenth is None else f", {found.top_tenth.kendall.text} within the top tenth, {chosen}"
        means = f"with the mean of {found.seeds:.3g} seeds"
        most = (
            f"{means} practically all of it is left to rank"
            if found.most.value >= 0.995
            else f"{means} no proxy is expected above a Spearman of {found.most.text}"
        )
        return (
            f"from one seed to another {units.counted(found.architectures, 'architecture')} are ranked alike at Kendall "
            f"{found.kendall.text}{top}; {most}"
        )
