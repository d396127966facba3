"""How far a proxy can be trusted: how well it ranks architectures by the accuracy that they reach in training.

Intervals are percentiles over resamples of the architectures (bootstrap, Efron 1979); the whole figure is computed again for
each. They say how certain it is for other architectures drawn like these, and nothing about other tasks or recipes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from statistics import harmonic_mean

import numpy as np

from autost_optuna import units
from autost_optuna.evidence.verdict import LEAST, Ceiling, Evidence, Figure, Regret, Top, Validation, Verdict
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
COVERED = 95  # per cent that intervals cover
FEWEST = 5  # fewest architectures in a top whose correlation is reported
FEW = 20  # with fewer architectures, bootstrap intervals are too narrow
TIED = 0.5  # share of tied pairs from which on a proxy says little
REGRETS = (1, 5, 10)
SEEDS = ""  # stands for figures of seeds against each other; not the name of a proxy


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """How the proxy `name` ranks architectures: all of them (Kendall), within each of TOPS, and with parameters held fixed.

    `fixed` is Spearman's rho. It and a top are None if they are undefined.
    """

    name: str
    whole: Figure
    tops: Mapping[str, Top | None]
    fixed: Figure | None


def validate(
    evidence: Evidence,
    *,
    samples: int = 1000,
    seed: int = 0,
    regrets: Sequence[int] = REGRETS,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """The verdict on each proxy. ValueError if a number is out of range; `on_done` is called with the resamples done."""
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
    figures = {key: figure_of(np.concatenate(values)) for key, values in drawn.items()}
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
    """All figures with intervals, of a proxy or of seeds against each other, for each resample."""
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
    """For each pair of seeds, the architectures that have both, and their accuracies with each."""
    most = max(len(seeds) for seeds in evidence.accuracies)
    found = []
    for i, j in combinations(range(most), 2):
        both = [place for place, seeds in enumerate(evidence.accuracies) if len(seeds) > j]
        first, second = (np.array([evidence.accuracies[place][slot] for place in both]) for slot in (i, j))
        if len(both) >= LEAST and len(set(first)) > 1 and len(set(second)) > 1:
            found.append((np.array(both), first, second))
    return found


def _better(evidence: Evidence, values: Sequence[float]) -> Floats:
    """Values with the sign for which more is better."""
    return -np.asarray(values, float) if evidence.lower else np.asarray(values, float)


def figure_of(values: Floats) -> Figure:
    """The first of `values`, with percentiles of the others: the resamples in which the figure is defined."""
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
    fixed = figures.get((name, "fixed"))
    ranking = Ranking(
        name=name,
        whole=figures[name, "kendall"],
        tops={top: _top(evidence, range(number), name, top, figures) for top in TOPS},
        fixed=None if fixed is None or math.isnan(fixed.value) else fixed,
    )
    same = np.zeros(number)
    regret = tuple(
        Regret(k=k, lost=lost(proxy, accuracy, k), random=lost(same, accuracy, k))
        for k in sorted(set(regrets))
        if k < number
    )
    share = agreeing(proxy, accuracy)
    return Verdict(
        name=name,
        kendall=ranking.whole,
        spearman=figures[name, "spearman"],
        top_tenth=ranking.tops["top_tenth"],
        top_fifth=ranking.tops["top_fifth"],
        fixed_params=ranking.fixed,
        regret=regret,
        agreeing=share,
        sentence=_sentence(ranking, evidence.target, share, regret),
        warnings=_warnings(ranking, tied_pairs(proxy)),
    )


def _top(
    evidence: Evidence, places: Sequence[int], name: str, top: str, figures: Mapping[tuple[str, str], Figure]
) -> Top | None:
    """The figures of `name` within a top, or None if too few of `places` are in it or all are equal."""
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
    """The highest expected correlation of a proxy with the mean of `seeds`, if single seeds correlate by `between`."""
    return math.sqrt(reliability_of_mean(between, seeds)) if between > 0 else 0.0


def _sentence(ranking: Ranking, target: str, share: float, regret: Sequence[Regret]) -> str:
    """The verdict on a proxy in plain words; `share` is that of the pairs in the order of `target`."""
    within = [
        f"{found.kendall.text} within the {top.replace('_', ' ')}"
        for top, found in ranking.tops.items()
        if found is not None
    ]
    most = [
        f"training only its top {one.k} loses {units.significant(one.lost)} of {target}, "
        f"{units.significant(one.random)} at random"
        for one in regret[-1:]
    ]
    first = f"{ranking.name} puts {100 * share:.0f} of 100 pairs in the order of {target}: Kendall {ranking.whole.text}"
    among_equals = [] if ranking.fixed is None else [f"Spearman {ranking.fixed.text} at fixed parameters"]
    return "; ".join([", ".join([first, *within[:1], *among_equals]), *most])


def _warnings(ranking: Ranking, tied: float) -> tuple[str, ...]:
    """The reasons not to trust a proxy; `tied` is the share of pairs that it ties."""
    name, whole, fixed, said = ranking.name, ranking.whole, ranking.fixed, []
    if not whole.sure:
        holds = "is unknown" if whole.low is None else f"{whole.interval} contains 0"
        said.append(f"{name} cannot be told from chance: its interval {holds}; train more architectures to know")
    elif whole.value < 0:
        said.append(f"{name} ranks the wrong way round, Kendall {whole.text}: its negative is the proxy")
    else:
        within = {top.replace("_", " "): found.kendall for top, found in ranking.tops.items() if found is not None}
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
