"""What to train next: areas by hand, expectations against simulation, and a replay on networks with a known answer."""

import numpy as np
import pytest

from autost_optuna.evidence.gain import begin, expected_gains, hypervolume_of, proceed, propose, staircase

WORST = (10.0, 0.0)
COSTS, ACCURACIES = np.array([4.0, 2.0, 6.0, 4.0, 20.0, 1.0]), np.array([3.0, 1.0, 2.5, 2.0, 9.0, -1.0])


def test_a_front_and_its_area_by_hand():
    starts, heights = staircase(COSTS, ACCURACIES, WORST)
    assert starts.tolist() == [-np.inf, 2.0, 4.0]  # not what is dominated, too dear or too bad
    assert heights.tolist() == [0.0, 1.0, 3.0]
    assert hypervolume_of(COSTS, ACCURACIES, WORST) == 2 * 1 + 6 * 3
    none = np.array([])
    assert hypervolume_of(none, none, WORST) == 0
    assert hypervolume_of(np.array([10.0]), np.array([5.0]), WORST) == 0


def test_gains_without_doubt_are_what_the_area_gains():
    costs, means = np.array([3.0, 4.0, 1.0, 12.0, 9.0]), np.array([2.0, 3.5, 0.5, 9.0, 1.0])
    found = expected_gains(costs, means, np.zeros(5), (COSTS, ACCURACIES), WORST)
    before = hypervolume_of(COSTS, ACCURACIES, WORST)
    for cost, mean, gain in zip(costs, means, found, strict=True):
        after = hypervolume_of(np.append(COSTS, cost), np.append(ACCURACIES, mean), WORST)
        assert gain == pytest.approx(after - before, abs=1e-9)
    assert found[3] == found[4] == pytest.approx(0)


def test_gains_in_doubt_are_the_mean_of_simulated_ones():
    generator = np.random.default_rng(0)
    costs, means, deviations = np.array([1.5, 5.0, 8.0]), np.array([0.8, 2.5, 3.5]), np.array([0.5, 1.0, 2.0])
    found = expected_gains(costs, means, deviations, (COSTS, ACCURACIES), WORST)
    before = hypervolume_of(COSTS, ACCURACIES, WORST)
    for place in range(3):
        drawn = means[place] + deviations[place] * generator.normal(size=4000)
        gains = [
            hypervolume_of(np.append(COSTS, costs[place]), np.append(ACCURACIES, one), WORST) - before for one in drawn
        ]
        assert found[place] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / 4000**0.5)


def test_networks_that_are_trained_together_differ():
    costs, means = np.array([3.0, 3.01, 7.0]), np.array([5.0, 5.0, 6.0])
    alone = expected_gains(costs, means, np.full(3, 0.1), (COSTS, ACCURACIES), WORST)
    assert alone[1] > alone[2]
    chosen = propose(2, costs, (means, np.full(3, 0.1)), (COSTS, ACCURACIES), WORST)
    assert chosen == [0, 2]  # the second adds nothing once the first is there
    assert sorted(propose(9, costs, (means, np.full(3, 0.1)), (COSTS, ACCURACIES), WORST)) == [0, 1, 2]


def test_the_first_are_one_of_each_quantile_of_costs():
    costs = np.random.default_rng(1).permutation(100).astype(float)
    chosen = begin(10, costs, 3)
    assert sorted(costs[chosen] // 10) == list(range(10))
    assert chosen == begin(10, costs, 3) != begin(10, costs, 4)
    assert sorted(begin(9, np.arange(4.0), 0)) == [0, 1, 2, 3]


def test_it_finds_the_front_with_fewer_trainings_than_chance():
    generator = np.random.default_rng(5)
    genes = generator.integers(0, 3, size=(600, 6)).astype(float)
    costs = genes.sum(1) + 0.01 * generator.random(600)
    accuracies = 50 + 3 * genes[:, 0] + 2 * genes[:, 1] - 0.4 * (genes[:, 2] - 1) ** 2 + 0.2 * costs
    accuracies[genes[:, 5] == 0] -= 40  # far below the reference point, which does not matter
    worst, seen = (float(costs.max()) + 0.1, 45.0), accuracies + 0.3 * generator.normal(size=600)
    whole = hypervolume_of(costs, accuracies, worst)
    ours, chance = [], []
    for seed in range(2):
        trained = begin(12, costs, seed)
        while len(trained) < 36:
            trained += proceed(4, (np.column_stack([genes, costs]), costs), (trained, seen[trained]), worst, seed)
        assert len(set(trained)) == 36
        ours.append(hypervolume_of(costs[trained], accuracies[trained], worst) / whole)
        drawn = np.random.default_rng(seed).permutation(600)[:36]
        chance.append(hypervolume_of(costs[drawn], accuracies[drawn], worst) / whole)
    assert np.mean(ours) > 0.95
    assert np.mean(ours) > np.mean(chance) + 0.02
