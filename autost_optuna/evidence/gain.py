"""Which networks to train next: those whose training is expected to add most to the front of accuracy against cost.

The cost of a network, such as its energy, is known before training; its accuracy is a normal distribution of a predictor. What
a network adds to the hypervolume is then a sum of expected improvements, one for each step of the front.
"""

from collections.abc import Sequence

import numpy as np

from autost_optuna.evidence.predictor import Matrix, fit_model, without_noise
from autost_optuna.ranks import Floats

FLAT = 1e-12  # a deviation that is none


def staircase(costs: Floats, accuracies: Floats, worst: tuple[float, float]) -> tuple[Floats, Floats]:
    """The best accuracy at most cost: where each step begins and how high it is, from cost -inf at the worst accuracy.

    `worst` are the cost and the accuracy of the reference point; points beyond it add nothing.
    """
    cost, accuracy = worst
    inside = (costs < cost) & (accuracies > accuracy)
    order = np.lexsort((-accuracies[inside], costs[inside]))
    sorted_costs, heights = costs[inside][order], np.maximum.accumulate(accuracies[inside][order])
    rises = np.diff(heights, prepend=accuracy) > 0
    return np.concatenate([[-np.inf], sorted_costs[rises]]), np.concatenate([[accuracy], heights[rises]])


def hypervolume_of(costs: Floats, accuracies: Floats, worst: tuple[float, float]) -> float:
    """The area between the front and the reference point."""
    starts, heights = staircase(costs, accuracies, worst)
    widths = np.diff(np.append(starts[1:], worst[0]))
    return float((widths * (heights[1:] - worst[1])).sum())


def expected_gains(
    costs: Floats, means: Floats, deviations: Floats, front: tuple[Floats, Floats], worst: tuple[float, float]
) -> Floats:
    """What each of n networks is expected to add to the hypervolume [n], with `costs`, `means` and `deviations` [n].

    `front` are costs and accuracies of what is trained. An improvement over a step of height b is expected to be
    s (z Phi(z) + phi(z)) with z = (mean - b) / s (Jones, Schonlau and Welch, 1998); it counts over the step's costs from the
    network's own on (Emmerich, Deutz and Klinkenberg, 2011, with one objective known).
    """
    from scipy.stats import norm

    starts, heights = staircase(*front, worst)
    ends = np.append(starts[1:], worst[0])
    widths = np.clip(ends[None] - np.maximum(starts[None], costs[:, None]), 0.0, None)
    spread = np.maximum(deviations, FLAT)[:, None]
    above = (means[:, None] - heights[None]) / spread
    improvements = spread * (above * norm.cdf(above) + norm.pdf(above))
    return (widths * improvements).sum(1)  # type: ignore[no-any-return]


def propose(
    count: int,
    costs: Floats,
    predicted: tuple[Floats, Floats],
    front: tuple[Floats, Floats],
    worst: tuple[float, float],
) -> list[int]:
    """The places of `count` networks to train together, of n with `costs` [n] and `predicted` means and deviations [n].

    They are chosen one by one; each counts as trained with its mean when the next is chosen, so that they differ (kriging
    believer: Ginsbourger, Le Riche and Carraro, 2010).
    """
    means, deviations = predicted
    left = np.ones(len(costs), bool)
    chosen: list[int] = []
    known = front
    for _ in range(min(count, len(costs))):
        gains = np.where(left, expected_gains(costs, means, deviations, known, worst), -np.inf)
        place = int(gains.argmax())
        chosen.append(place)
        left[place] = False
        known = np.append(known[0], costs[place]), np.append(known[1], means[place])
    return chosen


def begin(count: int, costs: Floats, seed: int) -> list[int]:
    """The places of `count` of n networks to train first: one of each quantile of costs [n], at random."""
    generator = np.random.default_rng(seed)
    strata = np.array_split(np.argsort(costs, kind="stable"), min(count, len(costs)))
    chosen = [int(generator.choice(stratum)) for stratum in strata]
    generator.shuffle(chosen)  # so that what is done of them at any time is spread too
    return chosen


def proceed(
    count: int,
    pool: tuple[Matrix, Floats],
    trained: tuple[Sequence[int], Sequence[float]],
    worst: tuple[float, float],
    seed: int,
) -> list[int]:
    """The places of `count` networks of a pool to train next; `pool` are features [n, p] and costs [n].

    `trained` are the places that are trained, and their accuracies. A Gaussian process says what many trainings of a network
    would reach in the mean, also of those that are trained, because one training may have been lucky. It takes accuracies below
    the reference point for that: how far below does not matter, and few bad networks would bend it.
    """
    features, costs = pool
    places, accuracies = np.asarray(trained[0]), np.asarray(trained[1], float)
    fitted = fit_model(without_noise, features[places], np.maximum(accuracies, worst[1]), seed)
    others = np.setdiff1d(np.arange(len(costs)), places)
    front = costs[places], fitted(features[places])[0]
    chosen = propose(count, costs[others], fitted(features[others]), front, worst)
    return [int(others[place]) for place in chosen]
