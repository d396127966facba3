"""How far a proxy can be trusted: how it ranks architectures against the accuracy that they reach when they are trained.

Intervals are percentiles of the figures of resamples of the architectures (bootstrap, Efron 1979), the whole figure computed
anew on each: they say how sure it is for other architectures drawn like these, and nothing of other tasks or recipes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from statistics import fmean, harmonic_mean

import numpy as np

from autost_optuna import notebook, units
from autost_optuna.ranks import (
    Codes,
    Floats,
    Weights,
    agreeing,
    kendall,
    lost,
    partial,
    reliability_of_mean,
    resamples,
    spearman,
    tied_pairs,
    within_top,
)

TOPS = {"top_tenth": 0.1, "top_fifth": 0.2}
COVERED = 95  # per cent that an interval covers
LARGEST = 1e100  # of a target, whose differences are to be numbers
LEAST, MOST = 3, 50_000  # architectures; more take minutes a proxy
FEWEST = 5  # architectures whose correlation within a top is given
FEW = 20  # below, intervals of a bootstrap are too narrow
TIED = 0.5  # a share of tied pairs from which a proxy says little
REGRETS = (1, 5, 10)
SEEDS = ""  # no proxy's name: figures of seeds against each other


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of trained architectures, one after the other: accuracies, one or several a seed, and proxies.

    `target` names the accuracy, `labels` the architectures. `params` is what is held fixed, and may be missing. With
    `lower`, less is better of target and proxies, as of energies.
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
                raise ValueError(f"{self.target} has a value that is no number; leave its architecture out ({label})")
            if (most := max(seeds, key=abs)) and abs(most) > LARGEST:
                raise ValueError(
                    f"{self.target} of {label} is {most:g}; leave it out, or give values up to {LARGEST:g}"
                )
        for name, values in {self.target: self.means, **self.proxies}.items():
            if any(math.isnan(value) for value in values):
                raise ValueError(f"{name} has a value that is no number; leave its architecture out")
            if len(set(values)) == 1:
                raise ValueError(f"{name} is {values[0]:g} for all architectures, which ranks nothing; leave it out")
        if any(math.isnan(value) for value in self.params or ()):
            raise ValueError("params has a value that is no number; leave its architecture out")

    @property
    def means(self) -> tuple[float, ...]:
        """The accuracy of each architecture: the mean over its seeds."""
        return tuple(fmean(seeds) for seeds in self.accuracies)

    @property
    def senses(self) -> tuple[str, str]:
        """The words for a better and a worse value."""
        return ("lower", "higher") if self.lower else ("higher", "lower")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure and the ends of its interval, None where most resamples have none."""

    value: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out, so that its sign is known."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def text(self) -> str:
        """The figure with its interval: "0.56 (0.54 to 0.57)"."""
        return f"{self.value:.2f} ({self.interval})"

    @property
    def interval(self) -> str:
        """The ends alone."""
        return "unknown" if self.low is None else f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """Rank correlations among the best of all alone, by mean accuracy with ties at the border: how many these are."""

    architectures: int
    kendall: Figure
    spearman: Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Regret:
    """What is lost by training the proxy's top `k` alone: how far their best stays behind the best of all.

    In units of the target; `random` is what k architectures drawn at random lose in the mean.
    """

    k: int
    lost: float
    random: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """What seeds leave to be ranked, from `architectures` that were trained with several seeds.

    Correlations are of one seed with another, in the mean over pairs of seeds. `most` is the Spearman correlation with the
    means over `seeds` trainings that no proxy is expected to exceed, the root of these means' reliability (attenuation,
    Spearman 1904), which Spearman and Brown's formula gives (1910).
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
    """What a proxy is worth: its correlations with accuracy, what it loses, and both in words.

    `agreeing` is the share of pairs that it puts in the order of accuracy, of those that neither ties. `fixed_params` is
    Spearman's rho with parameters held fixed, None without these or where they order the proxy wholly.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Proxies against `target`, best first, with intervals of 95 % from `samples` resamples of the architectures."""

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
        """The names of the `cells`."""
        regrets = [f"lost of top {one.k}" for one in self.proxies[0].regret]
        return ["proxy", "Kendall", "95 %", "Spearman", "95 %", "top tenth", "top fifth", "at fixed params", *regrets]

    @property
    def cells(self) -> list[list[str]]:
        """A row for people for each proxy; within the tops Kendall's tau, at fixed parameters Spearman's rho."""
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
        """Its table, sentences and warnings in a notebook."""
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
        """What the noise of seeds leaves to be ranked."""
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


def validate(
    evidence: Evidence,
    *,
    samples: int = 1000,
    seed: int = 0,
    regrets: Sequence[int] = REGRETS,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """What each proxy of the evidence is worth. ValueError for numbers that cannot be; `on_done` hears of resamples done."""
    if samples < 100:
        raise ValueError(f"{samples} resamples are too few for an interval of {COVERED} %; take at least 100")
    if samples > 1_000_000:
        raise ValueError(f"{samples:,} resamples take too long; take at most 1,000,000")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; give a seed from 0")
    if any(k < 1 for k in regrets):
        raise ValueError(f"a top of {min(regrets)} holds nobody; give tops from 1")
    drawn: dict[tuple[str, str], list[Floats]] = {}
    parts = {**evidence.proxies, **({SEEDS: ()} if any(len(seeds) > 1 for seeds in evidence.accuracies) else {})}
    number, done = len(evidence.accuracies), 0
    for weights in chain([np.ones((1, number), np.float32)], resamples(number, samples, seed)):
        for name in parts:
            for what, values in _statistics(evidence, name, weights):
                drawn.setdefault((name, what), []).append(values)
            done += len(weights)
            on_done(done, len(parts) * (samples + 1))
    figures = {key: _figure(np.concatenate(values)) for key, values in drawn.items()}
    verdicts = [_verdict(evidence, name, figures, regrets) for name in evidence.proxies]
    return Validation(
        target=evidence.target,
        lower=evidence.lower,
        architectures=len(evidence.accuracies),
        samples=samples,
        seed=seed,
        proxies=tuple(sorted(verdicts, key=lambda verdict: -verdict.kendall.value)),
        ceiling=_ceiling(evidence, figures),
        warnings=_few(len(evidence.accuracies)),
    )


def _statistics(evidence: Evidence, name: str, weights: Weights) -> Iterator[tuple[str, Floats]]:
    """All figures of a proxy, or of seeds against each other, that have an interval; of each resample."""
    accuracy = _better(evidence, evidence.means)
    tops = [(f"{top} ", within_top(accuracy, weights, share)) for top, share in TOPS.items()]
    everywhere = np.arange(len(accuracy))
    pairs = (
        _seed_pairs(evidence) if name == SEEDS else [(everywhere, _better(evidence, evidence.proxies[name]), accuracy)]
    )
    for what, kept in [("", weights), *tops] if pairs else ():
        for kind, correlate in (("kendall", kendall), ("spearman", spearman)):
            found = [correlate(first, second, kept[:, both]) for both, first, second in pairs]
            yield f"{what}{kind}", np.mean(found, axis=0)
    if evidence.params is not None and name != SEEDS:
        yield "fixed", partial(pairs[0][1], accuracy, np.asarray(evidence.params), weights)


def _seed_pairs(evidence: Evidence) -> list[tuple[Codes, Floats, Floats]]:
    """For each pair of seeds the architectures that have both, and their accuracies with one and the other."""
    most = max(len(seeds) for seeds in evidence.accuracies)
    found = []
    for i, j in combinations(range(most), 2):
        both = [place for place, seeds in enumerate(evidence.accuracies) if len(seeds) > j]
        first, second = (np.array([evidence.accuracies[place][slot] for place in both]) for slot in (i, j))
        if len(both) >= LEAST and len(set(first)) > 1 and len(set(second)) > 1:
            found.append((np.array(both), first, second))
    return found


def _better(evidence: Evidence, values: Sequence[float]) -> Floats:
    """Values of which more is better."""
    return -np.asarray(values, float) if evidence.lower else np.asarray(values, float)


def _figure(values: Floats) -> Figure:
    """The first of `values`, with the percentiles of the others, the resamples, of those in which it is defined."""
    defined = values[1:][~np.isnan(values[1:])]
    if 2 * len(defined) < len(values) - 1:
        return Figure(value=float(values[0]), low=None, high=None)
    rest = (100 - COVERED) / 2
    low, high = np.percentile(defined, [rest, 100 - rest])
    return Figure(value=float(values[0]), low=float(low), high=float(high))


def _verdict(
    evidence: Evidence, name: str, figures: Mapping[tuple[str, str], Figure], regrets: Sequence[int]
) -> Verdict:
    proxy, accuracy = _better(evidence, evidence.proxies[name]), _better(evidence, evidence.means)
    number = len(accuracy)
    tops = {top: _top(evidence, range(number), name, top, figures) for top in TOPS}
    fixed = figures.get((name, "fixed"))
    fixed = None if fixed is None or math.isnan(fixed.value) else fixed
    same = np.zeros(number)
    regret = tuple(
        Regret(k=k, lost=lost(proxy, accuracy, k), random=lost(same, accuracy, k))
        for k in sorted(set(regrets))
        if k < number
    )
    whole, share = figures[name, "kendall"], agreeing(proxy, accuracy)
    return Verdict(
        name=name,
        kendall=whole,
        spearman=figures[name, "spearman"],
        top_tenth=tops["top_tenth"],
        top_fifth=tops["top_fifth"],
        fixed_params=fixed,
        regret=regret,
        agreeing=share,
        sentence=_sentence(name, evidence.target, share, whole, tops, fixed, regret),
        warnings=_warnings(name, whole, tops, fixed, tied_pairs(proxy)),
    )


def _top(
    evidence: Evidence, places: Sequence[int], name: str, top: str, figures: Mapping[tuple[str, str], Figure]
) -> Top | None:
    """The figures of `name` within a top, None where too few of `places` are in it or all are equal."""
    once = np.ones((1, len(evidence.accuracies)), np.float32)
    kept = within_top(_better(evidence, evidence.means), once, TOPS[top])[0, list(places)]
    number, first = int(kept.sum()), figures[name, f"{top} kendall"]
    if number < FEWEST or math.isnan(first.value):
        return None
    return Top(architectures=number, kendall=first, spearman=figures[name, f"{top} spearman"])


def _ceiling(evidence: Evidence, figures: Mapping[tuple[str, str], Figure]) -> Ceiling | None:
    if (SEEDS, "kendall") not in figures:
        return None
    repeated = [place for place, seeds in enumerate(evidence.accuracies) if len(seeds) > 1]
    number, between = harmonic_mean([len(seeds) for seeds in evidence.accuracies]), figures[SEEDS, "spearman"]
    return Ceiling(
        architectures=len(repeated),
        seeds=number,
        kendall=figures[SEEDS, "kendall"],
        spearman=between,
        top_tenth=_top(evidence, repeated, SEEDS, "top_tenth", figures),
        top_fifth=_top(evidence, repeated, SEEDS, "top_fifth", figures),
        most=Figure(
            value=highest(between.value, number),
            low=None if between.low is None else highest(between.low, number),
            high=None if between.high is None else highest(between.high, number),
        ),
    )


def highest(between: float, seeds: float) -> float:
    """The most that a proxy is expected to correlate with the mean of `seeds`, of which one with one does so `between`."""
    return math.sqrt(reliability_of_mean(between, seeds)) if between > 0 else 0.0


def _sentence(
    name: str,
    target: str,
    share: float,
    whole: Figure,
    tops: Mapping[str, Top | None],
    fixed: Figure | None,
    regret: Sequence[Regret],
) -> str:
    """What a proxy is worth in plain words."""
    within = [
        f"{found.kendall.text} within the {top.replace('_', ' ')}" for top, found in tops.items() if found is not None
    ]
    most = [
        f"training only its top {one.k} loses {units.significant(one.lost)} of {target}, "
        f"{units.significant(one.random)} at random"
        for one in regret[-1:]
    ]
    first = f"{name} puts {100 * share:.0f} of 100 pairs in the order of {target}: Kendall {whole.text}"
    among_equals = [] if fixed is None else [f"Spearman {fixed.text} at fixed parameters"]
    return "; ".join([", ".join([first, *within[:1], *among_equals]), *most])


def _warnings(
    name: str, whole: Figure, tops: Mapping[str, Top | None], fixed: Figure | None, tied: float
) -> tuple[str, ...]:
    """What speaks against trusting a proxy."""
    said = []
    if not whole.sure:
        holds = "is unknown" if whole.low is None else f"{whole.interval} contains 0"
        said.append(f"{name} cannot be told from chance: its interval {holds}; train more architectures to know")
    elif whole.value < 0:
        said.append(f"{name} ranks the wrong way round, Kendall {whole.text}: its negative is the proxy")
    else:
        within = {top.replace("_", " "): found.kendall for top, found in tops.items() if found is not None}
        unsure = [top for top, found in within.items() if not found.sure]
        wrong = [top for top, found in within.items() if found.sure and found.value < 0]
        if unsure:
            said.append(
                f"{name} cannot be told from chance within the {' and the '.join(unsure)}: no help in choosing among these"
            )
        if wrong:
            said.append(
                f"{name} ranks the wrong way round within the {' and the '.join(wrong)}: no help in choosing among these"
            )
        if fixed is not None and not fixed.sure:
            said.append(f"{name} cannot be told from chance at fixed parameters, Spearman {fixed.text}")
        elif fixed is not None and fixed.value < 0:
            said.append(f"{name} ranks the wrong way round at fixed parameters, Spearman {fixed.text}")
    if tied >= TIED:
        said.append(f"{name} is equal in {100 * tied:.0f} of 100 pairs, of which it says nothing")
    return tuple(said)


def _few(number: int) -> tuple[str, ...]:
    if number >= FEW:
        return ()
    return (f"intervals from {number} architectures are too narrow; train at least {FEW}",)
