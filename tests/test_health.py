"""Health: when a pair of objectives is called degenerate, also by few architectures."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from makers import listed
from scipy.stats import norm, spearmanr

from autost_optuna.front.front import nondominated
from autost_optuna.front.health import DEGENERATE_SPEARMAN, Health, health


def test_health_counts_and_correlates():
    generator = random.Random(0)
    sample = [(flops, flops * generator.uniform(0.3, 3)) for flops in generator.sample(range(10, 1000), 120)]
    found = health(listed(sample))
    assert (found.trials, found.unique) == (120, 120)
    assert found.spearman == pytest.approx(spearmanr(*zip(*sample, strict=True)).statistic)
    assert found.nondominated_share == len(nondominated(listed(sample))) / 120
    assert found.warning is None


def test_one_objective_in_two_disguises_is_called_so():
    same = health(listed([(flops, flops * 2.0) for flops in range(10, 90)]))
    assert "degenerate" in same.warning
    dominated_pairs = [(flops, flops * 2.0) for flops in itertools.chain(range(10, 60), range(10, 60))]
    shifted = [(f, e + (i >= 50)) for i, (f, e) in enumerate(dominated_pairs)]
    assert "Spearman" in health(listed(shifted)).warning


def test_health_of_next_to_nothing():
    assert health([]).nondominated_share == 0
    assert health([], 0).warning is None
    assert health(listed([(1, 1), (2, 2)])).spearman is None
    assert health(listed([(1, 1), (1, 2), (1, 3)])).spearman is None


def agreeing(number):
    """Architectures that energy ranks exactly as FLOPs do, so that all are on the front."""
    return listed([(10 * n, 2.0**n) for n in range(1, number + 1)])


def test_an_exhausted_space_is_judged_however_small():
    said = "degenerate objectives: all 24 of the space's architectures are non-dominated, so the front says little"
    assert health(agreeing(24), 24).warning == said
    assert health(agreeing(3), 3).warning.startswith("degenerate objectives: all 3 of the space's architectures")
    assert health(agreeing(2), 2).warning is None  # two can hardly do otherwise
    # Half of them dominated, and energy far from the order of FLOPs.
    apart = listed([(10, 1), (20, 8), (30, 4), (40, 6)])
    assert health(apart, 4).nondominated_share == 0.75
    assert health(apart, 4).warning.startswith("degenerate objectives: 75% of the space's architectures")
    assert health([*apart, *listed([(5, 9), (6, 9.5)])][-6:], 6).warning is None


def test_in_an_exhausted_space_the_correlation_is_exact():
    # Pairs of equal FLOPs, one of each dearer: half are dominated, and ranks agree but for the ties.
    pairs = listed([(10 * n, 2.0**n * (1 + 0.1 * twin)) for n in range(1, 16) for twin in range(2)])
    found = health(pairs, 30)
    assert found.nondominated_share == 0.5
    assert 0.998 < found.spearman == found.spearman_at_least
    assert "ranks the architectures as FLOPs do" in found.warning


def test_of_few_architectures_a_share_says_nothing_and_perfect_ranks_little():
    # Ten in one order may well come of a pair of objectives that parts others; 24 in one order hardly.
    assert [health(agreeing(number)).warning is None for number in (3, 4, 10, 19, 24, 49)] == [True] * 4 + [False] * 2
    # Nine tenths of a small space leave little open.
    assert health(agreeing(10), 11).warning is not None
    assert health(agreeing(10), 1000).warning is None
    # More than are possible: some were enqueued from outside.
    assert health(agreeing(10), 8).seen == 1


def test_the_least_correlation_by_hand():
    found = Health(trials=24, unique=24, front_size=9, spearman=0.95, nondominated_share=9 / 24)
    r = 0.95 - 6 / (24 * 575)
    expected = math.tanh(math.atanh(r) - norm.ppf(0.95) * math.sqrt((1 + r * r / 2) / 21))
    assert found.spearman_at_least == pytest.approx(expected, abs=1e-5)
    assert replace(found, possible=24).spearman_at_least == 0.95
    assert expected < replace(found, possible=30).spearman_at_least < 0.95
    for r in (-1.0, 0.0, 1.0):
        assert -1 <= replace(found, spearman=r).spearman_at_least <= r
    assert replace(found, unique=3).spearman_at_least is None
    assert replace(found, spearman=None).spearman_at_least is None


@pytest.mark.parametrize("number", [10, 24, 49, 200])
def test_a_pair_of_objectives_at_the_threshold_is_seldom_called_degenerate(number):
    # Pearson's r of a normal pair whose Spearman's rho is the threshold: rho = 6 / pi asin(r / 2).
    r = 2 * math.sin(DEGENERATE_SPEARMAN * math.pi / 6)
    generator, calls = np.random.default_rng(0), 0
    for _ in range(400):
        x, y = generator.multivariate_normal([0, 0], [[1, r], [r, 1]], number).T
        rho = float(spearmanr(x, y).statistic)
        found = Health(trials=number, unique=number, front_size=0, spearman=rho, nondominated_share=0.0)
        calls += found.warning is not None
    assert calls / 400 <= 0.08
