import itertools
import math

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import BOX, candidate, listed
from optuna._hypervolume import compute_hypervolume

from autost_optuna.front.certainty import nondomination
from autost_optuna.front.front import Box, Staircase, hypervolume, nondominated, unique
from autost_optuna.front.picks import knee, pick, within

points = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=30)


def dominates(a, b):
    no_worse = a.flops >= b.flops and a.energy_mj <= b.energy_mj
    return no_worse and (a.flops, a.energy_mj) != (b.flops, b.energy_mj)


@given(points)
def test_members_are_those_that_nobody_dominates(sample):
    candidates = listed(sample)
    expected = [c for c in candidates if not any(dominates(other, c) for other in candidates)]
    members = nondominated(candidates)
    assert sorted(c.number for c in members) == sorted(c.number for c in expected)
    assert members == sorted(members, key=lambda c: (c.energy_mj, c.flops))


def test_an_architecture_counts_once_and_a_silent_one_never():
    candidates = [candidate(5, 1.0), candidate(5, 1.0), candidate(9, 0.1, 1, silent=True)]
    assert [c.number for c in unique(candidates)] == [0]
    assert [c.number for c in nondominated(candidates)] == [0]


def test_hypervolume_by_hand():
    # In log axes (10, 10) is the middle of the box: a quarter. (100, 10) adds the other half of the lower half.
    assert hypervolume(listed([(10, 10)]), BOX) == pytest.approx(0.25)
    assert hypervolume(listed([(10, 10), (100, 10)]), BOX) == pytest.approx(0.5)
    assert hypervolume(listed([(10, 1), (100, 10)]), BOX) == pytest.approx(0.75)
    assert hypervolume(listed([(1, 1), (50, 100)]), BOX) == 0
    assert hypervolume([], BOX) == 0


floats = st.lists(st.tuples(st.floats(0.5, 200), st.floats(0.5, 200)), min_size=1, max_size=60)


@given(floats)
def test_hypervolume_agrees_with_moocore_and_optuna(sample):
    candidates = listed(sample)
    scaled = np.array([BOX.scaled(c.flops, c.energy_mj) for c in candidates])
    found = hypervolume(candidates, BOX)
    assert found == pytest.approx(moocore.hypervolume(scaled, ref=np.zeros(2), maximise=True), abs=1e-12)
    losses = np.maximum(-scaled, -10)  # Optuna's asks for no point beyond the reference point
    inside = losses[(losses < 0).all(1)]
    theirs = compute_hypervolume(inside, np.zeros(2)) if len(inside) else 0.0
    assert found == pytest.approx(theirs, abs=1e-12)


def test_a_staircase_by_hand_point_by_point():
    stairs = Staircase()
    areas = []
    for point in [(2, 2), (1, 3), (3, 1), (1, 2), (2, 2), (0, 9), (2.5, 2.5), (4, 4)]:
        stairs.add(*point)
        areas.append(stairs.area)
    # (1, 3) adds 1x1 above (2, 2), (3, 1) adds 1x1 beside it; three that add nothing; (2.5, 2.5) adds its L around (2, 2)
    assert areas == [4, 5, 6, 6, 6, 6, 6 + 1 * 0.5 + 0.5 * 1.5, 16]


def test_a_box_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no box"):
        Box(worst_flops=2, worst_energy_mj=1, best_flops=1, best_energy_mj=0.5)


def test_knee_is_the_member_that_bulges_most():
    assert knee(listed([(1, 1), (50, 2), (60, 40), (100, 100)])).number == 1
    assert knee(listed([(3, 1)])).number == 0
    assert knee(nondominated(listed([(3, 2), (1, 1)]))).number == 1
    with pytest.raises(ValueError, match="run more trials"):
        knee([])


@settings(max_examples=30)
@given(points)
def test_knee_is_a_member_whatever_the_front(sample):
    members = nondominated(listed(sample))
    assert knee(members) in members


def test_picks_by_hand():
    # In the box's log axes: (.25, 1), (.5, .5), (1, .25). Alone each is worth a quarter, and the first comes first; the ends
    # together .25 + .75 * .25, better than the middle with either (.25 + .25 * .5 = .375, and the same on the other side).
    members = listed([(10**0.5, 1.0), (10, 10.0), (100, 10**1.5)])
    assert [m.number for m in pick(members, BOX, 2)] == [0, 2]
    assert hypervolume(pick(members, BOX, 2), BOX) == pytest.approx(0.25 + 0.75 * 0.25)
    assert pick(members, BOX, 3) == pick(members, BOX, 1_000_000) == members
    assert pick([], BOX, 1) == []
    for count in (0, -3):
        with pytest.raises(ValueError, match=f"{count} members cannot be picked; ask for at least 1"):
            pick(members, BOX, count)


@given(st.lists(st.tuples(st.floats(0.5, 200), st.floats(0.5, 200)), min_size=1, max_size=9), st.integers(1, 9))
def test_picks_are_the_best_of_all_subsets(sample, count):
    members = nondominated(listed(sample))
    chosen = pick(members, BOX, count)
    assert len(chosen) == min(count, len(members))
    assert chosen == [m for m in members if m in chosen]  # each once, in the order of the front
    subsets = itertools.combinations(members, len(chosen))
    scaled = [np.array([BOX.scaled(m.flops, m.energy_mj) for m in subset]) for subset in subsets]
    best = max(moocore.hypervolume(points, ref=np.zeros(2), maximise=True) for points in scaled)
    assert hypervolume(chosen, BOX) == pytest.approx(best, abs=1e-12)


def test_picks_of_a_large_front_cannot_be_bettered_one_by_one():
    generator = np.random.default_rng(0)
    angles = np.sort(generator.uniform(0, np.pi / 2, 400))
    members = nondominated(listed([(100 ** math.sin(a), 100 ** (1 - math.cos(a))) for a in angles]))
    volumes = [hypervolume(pick(members, BOX, count), BOX) for count in (1, 2, 5, 20, 399)]
    assert volumes == sorted(volumes)
    # Growing by one never loses, and a greedy choice never wins.
    chosen, greedy = pick(members, BOX, 5), []
    for _ in range(5):
        greedy.append(max(members, key=lambda m: hypervolume([*greedy, m], BOX)))
    assert hypervolume(chosen, BOX) >= hypervolume(greedy, BOX)
    # No exchange of one pick for another member makes it better.
    for out, other in itertools.product(chosen, members[::7]):
        assert hypervolume([*(m for m in chosen if m is not out), other], BOX) <= hypervolume(chosen, BOX) + 1e-12


def test_a_budget_keeps_what_it_pays_for():
    members = listed([(1, 1), (50, 2), (60, 40)])
    assert [m.number for m in within(members, 2)] == [0, 1]
    assert within(members, math.inf) == members
    with pytest.raises(ValueError, match=r"at most 0\.5 mJ; the cheapest one's energy is 1\.00 mJ"):
        within(members, 0.5)
    for budget in (0, -1, math.nan):
        with pytest.raises(ValueError, match=f"{budget:g} mJ is not positive"):
            within(members, budget)


def test_paired_differences_decide_who_is_dominated_not_the_spread():
    # On each image the second, of the same FLOPs, costs 1 % more, though images vary by a factor of three.
    cheap, dear = (1.0, 2.0, 3.0), (1.01, 2.02, 3.03)
    found = [candidate(10, 2.0, 0, energies=(cheap,)), candidate(10, 2.02, 1, energies=(dear,))]
    found.append(candidate(20, 9.0, 2, energies=((8.0, 9.0, 10.0),)))
    assert list(nondomination(found).values()) == [1.0, 1.0, 0.0]  # by descending FLOPs
    assert nondomination(found)[found[1].architecture.key] == 0.0


def test_a_toss_up_has_the_probability_of_its_images():
    # Two images, each dear on one of them: drawn with replacement, the mean favours each in a quarter of the draws, and in
    # half of them both images are drawn and the two are equal, which dominates neither.
    one, other = candidate(10, 1.5, 0, energies=((1.0, 2.0),)), candidate(10, 1.5, 1, energies=((2.0, 1.0),))
    found = nondomination([one, other], replicates=4000)
    assert found[one.architecture.key] == pytest.approx(0.75, abs=0.03)
    assert found[other.architecture.key] == pytest.approx(0.75, abs=0.03)
    # More FLOPs at the same energy dominate outright.
    more = candidate(11, 1.5, 2, energies=((1.0, 2.0),))
    assert nondomination([one, more])[one.architecture.key] == 0.0


@given(points)
@settings(max_examples=60, deadline=None)
def test_without_spread_the_probabilities_are_the_front(pairs):
    found = [
        candidate(flops, energy, index, energies=((energy, energy),)) for index, (flops, energy) in enumerate(pairs)
    ]
    members = {c.architecture.key for c in nondominated(found)}
    assert {key for key, share in nondomination(found, replicates=3).items() if share == 1} == members
    assert set(nondomination(found, replicates=3).values()) <= {0.0, 1.0}


def test_of_several_seeds_their_means_are_drawn():
    # Within each seed the images differ widely, but the means of the first are the lower ones under both seeds.
    one = candidate(10, 2.0, 0, energies=((1.0, 3.0), (0.0, 4.2)))
    other = candidate(10, 2.1, 1, energies=((2.1, 2.0), (2.15, 2.15)))
    assert nondomination([one, other]) == {one.architecture.key: 1.0, other.architecture.key: 0.0}


def test_candidates_measured_differently_are_not_compared():
    with pytest.raises(ValueError, match="different numbers of images or seeds"):
        nondomination([candidate(1, 1.0, 0), candidate(2, 2.0, 1, energies=((1.0, 3.0),))])
    assert nondomination([]) == {}


def test_one_image_says_nothing():
    assert set(nondomination(listed([(1, 1.0), (2, 2.0)])).values()) == {None}
