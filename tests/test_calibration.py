"""Prediction beside measurement: by hand, then what must hold of any figures."""

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import training

from autost_optuna import Architecture, Task
from autost_optuna.network.chain import operations, populations
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT
from autost_optuna.proxies.energy import estimate_energy, total_mj
from autost_optuna.ranks import Ranks, rank
from autost_optuna.training.calibration import Mean, calibrate, group, mean_of, measured_front, moved, swapped_pairs

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")
ROLES = {
    *(f"stem.conv{i}" for i in (2, 3, 4)),
    *(f"attention.{part}" for part in ("q", "k", "v", "qk", "av", "proj")),
    "mlp.fc1",
    "mlp.fc2",
}


def network(width, depth=1):
    return Architecture.uniform(embed_dim=width, depth=depth, num_heads=2, mlp_ratio=2)


def rates(architecture, value=0.1, **changes):
    """One rate for all operations but those of the roles in `changes`, whose dots are underscores."""
    named = {name.replace("_", "."): rate for name, rate in changes.items()}
    driven = [row for row in operations(architecture, TASK) if row.driven_by != REAL]
    return {row.name: named.get(row.role, value) for row in driven}


def run(width, predicted_mj, energy_mj, accuracy=0.5, depth=1, **changes):
    architecture = network(width, depth)
    same = {"initial_rates": rates(architecture), "rates": rates(architecture), "flops": width * 1000}
    figures = {"predicted_mj": predicted_mj, "energy_mj": energy_mj, "validation_accuracy": accuracy}
    return training(architecture, **{**same, **figures, **changes})


def test_seeds_of_one_network_are_one_group_with_mean_and_deviation():
    runs = [
        run(16, 1.0, 2.0, 0.5, seed=1, test_accuracy=0.25),
        run(16, 1.0, 1.0, 0.25, seed=0, test_accuracy=0.5),
        run(8, 0.5, 1.0),
        run(16, 1.0, 3.0, 0.75, recipe_hash="other"),
        run(16, 1.0, 3.0, 0.75, data="other"),
    ]
    groups = group(runs)
    assert [[one.seed for one in g.runs] for g in groups] == [[0], [0, 1], [0], [0]]
    pair = groups[1]
    assert pair.energy_mj == Mean(mean=1.5, deviation=pytest.approx(math.sqrt(0.5)))
    assert pair.validation_accuracy == Mean(mean=0.375, deviation=pytest.approx(0.25 / math.sqrt(2)))
    assert pair.test_accuracy.mean == 0.375
    assert pair.ratio == 1.5
    assert groups[0].validation_accuracy.deviation is None
    assert mean_of([2.0]) == Mean(mean=2.0, deviation=None)


def test_the_measured_front_by_hand():
    points = {8: (1.0, 0.5), 16: (2.0, 0.4), 24: (2.0, 0.6), 32: (3.0, 0.6), 40: (4.0, 0.9)}
    front = measured_front(group(run(width, 1.0, *point) for width, point in points.items()))
    assert [one.architecture.embed_dim for one in front] == [8, 24, 40]
    # Of another recipe, better in both: not compared.
    other = run(48, 1.0, 0.5, 0.95, recipe_hash="other")
    front = measured_front(group([*(run(width, 1.0, *point) for width, point in points.items()), other]))
    assert [one.architecture.embed_dim for one in front] == [8, 24, 40, 48]


def test_calibration_by_hand():
    # Predicted 1, 2, 3, 4; measured 2, 6, 3, 8: ratios 2, 3, 1, 2. Only the second and the third change places.
    runs = [run(8, 1.0, 2.0, 0.6), run(16, 2.0, 6.0, 0.5), run(24, 3.0, 3.0, 0.7), run(32, 4.0, 8.0, 0.8)]
    (found,) = calibrate(runs, TASK, DEFAULT)
    assert (found.ratio, found.least_ratio, found.largest_ratio) == (2.0, 1.0, 3.0)
    assert (found.networks, found.members, found.pairs, found.swapped) == (4, 4, 6, 1)
    # Spearman 1 - 6 * (1 + 1) / (4 * 15), Kendall (5 - 1) / 6; FLOPs against accuracy has one swapped pair too.
    assert found.energy == Ranks(spearman=pytest.approx(0.8), kendall=pytest.approx(4 / 6))
    assert found.accuracy == Ranks(spearman=pytest.approx(0.8), kendall=pytest.approx(4 / 6))
    assert (found.recipe_name, found.data, found.convention) == ("short", "digits", DEFAULT.label)


def test_ranks_are_of_architectures_and_not_of_seeds():
    runs = [run(8, 1.0, 2.0, seed=seed) for seed in range(5)] + [run(16, 2.0, 3.0)]
    (found,) = calibrate(runs, TASK, DEFAULT)
    assert (found.networks, found.members, found.pairs) == (6, 2, 1)
    assert found.energy is None  # two points have no rank correlation worth the name
    (alike,) = calibrate([run(width, float(width), 1.0) for width in (8, 16, 24)], TASK, DEFAULT)
    assert alike.energy is None


def test_networks_of_other_recipes_and_data_are_not_compared():
    runs = [run(8, 1.0, 2.0), run(16, 2.0, 3.0), run(8, 1.0, 5.0, recipe_hash="x", recipe_name="long")]
    found = calibrate(runs, TASK, DEFAULT)
    assert [(one.recipe_name, one.members, one.ratio) for one in found] == [("short", 2, 1.75), ("long", 1, 5.0)]
    with pytest.raises(ValueError, match=r"trial 0 was measured under memory#.*, not under horowitz-45nm-fp32"):
        calibrate([run(8, 1.0, 2.0, convention="memory#123")], TASK, DEFAULT)
    assert calibrate([], TASK, DEFAULT) == []


def test_the_layer_that_moved_explains_the_change():
    architecture = network(16, depth=2)
    one = run(16, 1.0, 2.0, depth=2, rates=rates(architecture, mlp_fc1=0.3))
    first, *others = moved([one], TASK, DEFAULT)
    assert first.role == "mlp.fc1"
    assert first.change > 0
    assert (first.initial_rate, first.trained_rate, first.ratio) == pytest.approx((0.1, 0.3, 3.0))
    assert {row.role for row in others} == ROLES - {"mlp.fc1"}
    assert all((row.ratio, row.change) == (1.0, 0.0) for row in others)


def test_changes_by_hand():
    # q, k and v have N C^2 MACs each, fc1 has N C 2C: at the same change of the rate it takes twice a q's.
    architecture = network(16)
    one = run(16, 1.0, 2.0, rates=rates(architecture, attention_q=0.2, attention_k=0.05, mlp_fc1=0.2))
    found = {row.role: row.change for row in moved([one], TASK, DEFAULT)}
    # 0.1 more of N = 4 x 4 tokens, C = 16, at 2 steps and 0.9 pJ
    by_hand = 0.1 * TASK.num_tokens * 16 * 16 * TASK.time_steps * 0.9e-9
    initial_mj = total_mj(estimate_energy(operations(architecture, TASK), one.initial_rates))
    assert found["attention.q"] == pytest.approx(by_hand / initial_mj)
    assert found["mlp.fc1"] == pytest.approx(2 * by_hand / initial_mj)
    assert found["attention.k"] == pytest.approx(-0.5 * by_hand / initial_mj)
    assert found["stem.conv2"] == 0


def test_a_role_that_was_silent_has_no_ratio():
    architecture = network(16)
    still = moved([run(16, 1.0, 1.0)], TASK, DEFAULT)
    assert {row.change for row in still} == {0.0}
    silent = rates(architecture, attention_proj=0.0)
    (first, *_) = moved([run(16, 1.0, 1.0, initial_rates=silent)], TASK, DEFAULT)
    assert (first.role, first.initial_rate, first.ratio) == ("attention.proj", 0.0, None)


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=lambda c: c.name)
def test_changes_add_up_to_that_of_the_bill(convention):
    drawn = random.Random(convention.name)
    runs = []
    for width, depth in ((8, 1), (16, 3), (32, 2)):
        one = run(width, 1.0, 2.0, depth=depth, convention=convention.label)
        runs.append(
            replace(one, **{name: {k: drawn.random() for k in one.rates} for name in ("rates", "initial_rates")})
        )

    def bill(architecture, of):
        return total_mj(
            estimate_energy(operations(architecture, TASK), of, convention, populations(architecture, TASK))
        )

    before, after = (math.fsum(bill(r.architecture, getattr(r, of)) for r in runs) for of in ("initial_rates", "rates"))
    rows = moved(runs, TASK, convention)
    roles = {row.name: row.role for r in runs for row in operations(r.architecture, TASK)}
    assert {row.role for row in rows} == ROLES
    assert math.fsum(row.change for row in rows) == pytest.approx(after / before - 1)
    assert [abs(row.change) for row in rows] == sorted((abs(row.change) for row in rows), reverse=True)
    for row in rows[:3]:  # the change of the bill where this role alone moves
        alone = math.fsum(
            bill(r.architecture, {k: (r.rates if roles[k] == row.role else r.initial_rates)[k] for k in r.rates})
            - bill(r.architecture, r.initial_rates)
            for r in runs
        )
        assert row.change == pytest.approx(alone / before)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_swapped_pairs_are_those_that_kendall_counts(points):
    first, second = zip(*points, strict=True)
    signs = [(a - c) * (b - d) for (a, b), (c, d) in itertools.combinations(points, 2)]
    swapped = swapped_pairs(first, second)
    found = rank(first, second)
    if found is not None:
        ties = [sum(a == b for a, b in itertools.combinations(side, 2)) for side in (first, second)]
        scale = math.sqrt((len(signs) - ties[0]) * (len(signs) - ties[1]))
        kept = sum(sign > 0 for sign in signs)
        assert found.kendall == pytest.approx((kept - swapped) / scale)
    assert rank(first, first) in (None, Ranks(spearman=pytest.approx(1), kendall=pytest.approx(1)))
