import pytest
from makers import BOX, candidate

from autost_optuna.front.convergence import Course, StopRule


def course(*volumes):
    """A course whose hypervolumes are as given: a point (100 ** x, 1) dominates x of the box."""
    return Course(BOX, [None if x is None else candidate(100**x, 1.0) for x in volumes])


def test_the_course_by_hand():
    found = course(None, 0.5, None, 0.25, 1.0)
    assert found.hypervolumes == pytest.approx([0, 0.5, 0.5, 0.5, 1])
    assert [found.trials_to(volume) for volume in (0, 0.3, 0.7, 1.1)] == [1, 2, 5, None]
    assert course().trials_to(0.1) is None


def test_convergence_by_hand():
    rule = StopRule(patience=3, tolerance=0.1)
    # After trial 4 the last three added 0.8 - 0.5; after trial 7 they added 0.82 - 0.8, less than a tenth of 0.82.
    volumes = [0.5, 0.6, 0.7, 0.8, 0.8, 0.81, 0.82]
    evidence = [course(*volumes[:count]).evidence(rule) for count in range(len(volumes) + 1)]
    assert [e.converged for e in evidence] == [False] * 7 + [True]
    assert evidence[4].gain == pytest.approx(0.3)
    assert evidence[7].gain == pytest.approx(0.02)
    assert evidence[7].hypervolume == pytest.approx(0.82)
    assert (evidence[7].trials, evidence[0].trials) == (7, 0)


def test_a_search_without_candidates_is_given_up():
    rule = StopRule(patience=3)
    assert [course(*[None] * n).evidence(rule).fruitless for n in (0, 15, 16)] == [False, False, True]
    assert not course(*[None] * 30, 0.5).evidence(rule).fruitless


def test_the_first_trials_are_never_converged():
    rule = StopRule(patience=2, tolerance=0.5)
    assert [course(*[0.5] * n).evidence(rule).converged for n in (1, 2, 3)] == [False, False, True]
    assert not course(None, None, None, None).evidence(rule).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience 0 is not a positive"),
        ({"patience": 2.5}, "patience 2.5"),
        ({"tolerance": 0}, "tolerance 0 is not between"),
        ({"tolerance": 1.5}, "tolerance 1.5"),
        ({"tolerance": float("nan")}, "tolerance nan"),
    ],
)
def test_a_rule_that_is_none_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StopRule(**options)
