"""Rank statistics of figures over architectures, weighted by how often each architecture occurs; many resamples at once.

Shapes: n architectures, S resamples. `weights` [S, n] are whole numbers: how often each resample holds each architecture.
An architecture is tied with its own copies. Only the order of figures matters: they may be infinite, but not NaN.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
Codes = NDArray[np.int64]
CELLS = 2_000_000  # most weights in one batch of resamples


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Rank correlations of two figures over networks."""

    spearman: float
    kendall: float


def rank(first: Sequence[float], second: Sequence[float]) -> Ranks | None:
    """Spearman's rho and Kendall's tau-b, or None for fewer than three points or if all values of a figure are equal."""
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    x, y, once = np.asarray(first), np.asarray(second), np.ones((1, len(first)), np.float32)
    return Ranks(spearman=float(spearman(x, y, once)[0]), kendall=float(kendall(x, y, once)[0]))


def kendall(first: Floats, second: Floats, weights: Weights) -> Floats:
    """Kendall's tau-b [S]: (C - D) / sqrt((P - X)(P - Y)) of P pairs, X and Y tied (Kendall 1945). NaN if all tie."""
    kept = np.flatnonzero(weights.any(axis=0))
    if not len(kept):
        return np.full(len(weights), np.nan)
    x, y, held = codes(first[kept]), codes(second[kept]), np.ascontiguousarray(weights[:, kept])
    number = held.sum(axis=1, dtype=np.float64)
    pairs = number * (number - 1) / 2
    return _ratio(_concordance(x, y, held), np.sqrt((pairs - _tied(x, held)) * (pairs - _tied(y, held))))


def agreeing(first: Floats, second: Floats) -> float:
    """The share of pairs that both figures put in the same order, among pairs that neither ties. NaN if there are none."""
    once = np.ones((1, len(first)), np.float32)
    x, y = codes(first), codes(second)
    number = len(first) * (len(first) - 1) / 2
    ordered = number - _tied(x, once) - _tied(y, once) + _tied(codes(x * (int(y.max()) + 1) + y), once)
    return float(_ratio(ordered + _concordance(x, y, once), 2 * ordered)[0])


def spearman(first: Floats, second: Floats, weights: Weights) -> Floats:
    """Spearman's rho [S]: Pearson's correlation of the ranks; equal figures share their mean rank. NaN if all are equal."""
    x, y = (_centred_ranks(codes(figures), weights) for figures in (first, second))
    return _ratio((weights * x * y).sum(axis=1), np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)))


def partial(first: Floats, second: Floats, fixed: Floats, weights: Weights) -> Floats:
    """Spearman's rho [S] of two figures with a third held fixed, (r12 - r13 r23) / sqrt((1 - r13^2)(1 - r23^2)) (Yule 1907).

    NaN if the third orders one of them completely.
    """
    r12, r13, r23 = (spearman(a, b, weights) for a, b in ((first, second), (first, fixed), (second, fixed)))
    left = (1 - r13**2) * (1 - r23**2)
    return _ratio(r12 - r13 * r23, np.sqrt(np.where(left > 1e-12, left, 0)))


def within_top(figures: Floats, weights: Weights, share: float) -> Weights:
    """`weights` [S, n] of the top `share` of each resample, rounded up, including all that tie with the last of them."""
    level = codes(figures)
    order = np.argsort(-level, kind="stable")
    below = np.cumsum(weights[:, order], axis=1, dtype=np.float64)
    least = np.ceil(share * below[:, -1] - 1e-9)
    last = level[order][np.argmax(below >= least[:, None], axis=1)]
    kept: Weights = np.where(level >= last[:, None], weights, np.float32(0))
    return kept


def resamples(number: int, samples: int, seed: int) -> Iterator[Weights]:
    """Weights of `samples` resamples of `number` architectures with replacement (Efron 1979), in batches."""
    generator, batch = np.random.default_rng(seed), max(1, CELLS // number)
    for start in range(0, samples, batch):
        size = min(batch, samples - start)
        drawn = generator.integers(number, size=(size, number)) + number * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * number).reshape(size, number).astype(np.float32)


def lost(proxy: Floats, figures: Floats, most: int) -> float:
    """How far the best of a proxy's top `most` falls short of the best of all.

    If ties in the proxy leave open which are in its top, the result is the mean over all choices.
    """
    border = np.sort(proxy)[-most]
    sure, tied = figures[proxy > border], -np.sort(-figures[proxy == border])
    drawn, best = most - len(sure), sure.max(initial=-math.inf)
    # Of the C(t, drawn) ways to draw from the tied, C(t - 1 - i, drawn - 1) have the i-th as their best.
    choices = math.comb(len(tied), drawn)
    chance = [math.comb(len(tied) - 1 - i, drawn - 1) / choices for i in range(len(tied))]
    return float(np.dot(chance, figures.max() - np.maximum(tied, best)))


def reliability_of_mean(correlation: float, seeds: float) -> float:
    """Correlation of means of `seeds` trainings each, from that of single trainings (Spearman 1910; Brown 1910)."""
    return seeds * correlation / (1 + (seeds - 1) * correlation)


def tied_pairs(figures: Floats) -> float:
    """The share of all pairs that are equal."""
    number = len(figures)
    return float(_tied(codes(figures), np.ones((1, number), np.float32))[0] / (number * (number - 1) / 2))


def codes(figures: NDArray[np.generic]) -> Codes:
    """Figures [n] as 0, 1, 2, ... in ascending order; equal figures get equal codes."""
    found: Codes = np.unique(figures, return_inverse=True)[1].astype(np.int64)
    return found


def _concordance(x: Codes, y: Codes, weights: Weights) -> Floats:
    """Pairs in the same order in `x` and `y` minus pairs in opposite orders [S]. Exact, since all sums are of whole numbers.

    Each pair is counted once: at the highest bit in which its `y` differ, among those with equal higher bits, in `x` order.
    """
    found = np.zeros(len(weights))
    order = np.argsort(x, kind="stable")
    x, y, held = x[order], y[order], weights[:, order].T.astype(np.float64)
    for bit in range(int(y.max()).bit_length()):
        group = y >> (bit + 1)
        place = np.argsort(group, kind="stable")
        upper, group, weight = (y[place] >> bit & 1).astype(bool), group[place], held[place]
        run = group * (int(x.max()) + 1) + x[place]  # of equal x in a group; ascending, like the groups
        less = np.zeros((len(x) + 1, len(weights)))  # the weight of lower bits up to a place
        np.cumsum(np.where(upper[:, None], 0, weight), axis=0, out=less[1:])
        ends = [np.searchsorted(of, of[upper], side) for of in (group, run) for side in ("left", "right")]
        start, end, first, last = (less[at] for at in ends)
        found += ((first - start - (end - last)) * weight[upper]).sum(axis=0)
    return found


def _tied(level: Codes, weights: Weights) -> Floats:
    """Pairs within one level [S]."""
    sizes = _sizes(level, weights)
    pairs: Floats = (sizes * (sizes - 1) / 2).sum(axis=1)
    return pairs


def _sizes(level: Codes, weights: Weights) -> Floats:
    """How many items of each level each resample holds [S, levels]."""
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(level.max() + 1))
    sizes: Floats = np.add.reduceat(weights[:, order], starts, axis=1, dtype=np.float64)
    return sizes


def _centred_ranks(level: Codes, weights: Weights) -> Floats:
    """Ranks minus their mean [S, n]; equal figures share their mean rank."""
    sizes = _sizes(level, weights)
    ends = np.cumsum(sizes, axis=1)
    ranks: Floats = (ends - (sizes - 1) / 2 - (ends[:, -1:] + 1) / 2)[:, level]
    return ranks


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, or NaN where below is 0."""
    ratio: Floats = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return ratio
