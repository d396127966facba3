"""Learning accuracy: models on data with a known answer, honest figures on what is left out, and typed."""

import json
import math

import numpy as np
import pytest
from makers import ROOT

from autost_optuna import Architecture, Task
from autost_optuna.evidence.features import columns, features_of
from autost_optuna.evidence.predictor import HALF, LEAST, MODELS, Lessons, learn
from autost_optuna.ranks import kendall

DIGITS = Task.preset("digits")


def drawn(number, seed, noise, answer):
    """Lessons on four features, of which `answer` makes accuracies."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(number, 4))
    y = answer(x) + noise * generator.normal(size=number)
    return {f"x{place}": x[:, place] for place in range(4)}, y


def tau(first, second):
    return float(kendall(np.asarray(first), np.asarray(second), np.ones((1, len(first)), np.float32))[0])


def line(x):
    return 3 * x[:, 0] - 2 * x[:, 1] + x[:, 2]


def bent(x):
    return np.sin(2 * x[:, 0]) + x[:, 1] ** 2


@pytest.mark.parametrize(("answer", "noise", "best"), [(line, 0.3, "ridge"), (bent, 0.1, None)])
def test_it_predicts_what_it_has_not_seen_as_well_as_it_says(answer, noise, best):
    features, y = drawn(65, 0, noise, answer)
    found = learn(Lessons(features=features, accuracies=y))
    if best:
        assert found.kind in (best, "Gaussian process")
        assert found.kendall.value > 0.8
    assert found.gain.sure
    assert found.gain.value > 0.1
    assert set(found.models) == set(MODELS)
    assert found.names == ("x0", "x1", "x2", "x3")
    others, truth = drawn(1000, 1, noise, answer)
    means, deviations = found.predict(others)
    assert tau(means, truth) == pytest.approx(found.kendall.value, abs=0.12)
    assert float((np.abs(means - truth) <= HALF * deviations).mean()) == pytest.approx(0.8, abs=0.1)
    assert "better; intervals" in found.in_words


def test_of_noise_it_says_that_it_knows_nothing():
    features, y = drawn(30, 3, 1.0, lambda x: 0 * x[:, 0])
    found = learn(Lessons(features=features, accuracies=y))
    assert (found.kind, found.kendall.value) == ("the mean", 0)
    assert found.gain.value < 0
    assert found.in_words.startswith(
        "nothing was learned from 30 architectures: no model predicts left-out ones better"
    )
    means, deviations = found.predict(drawn(5, 4, 1.0, line)[0])
    assert means == pytest.approx(np.full(5, y.mean()))
    assert len(set(deviations)) == 1


def test_one_feature_predicts_if_the_others_only_disturb():
    generator = np.random.default_rng(5)
    x = generator.normal(size=20)
    disturbing = {f"noise {place}": generator.normal(size=20) for place in range(15)}
    found = learn(Lessons(features={"width": x, **disturbing}, accuracies=2 * x + 0.3 * generator.normal(size=20)))
    assert found.names == ("width",)
    assert found.best == "width"
    assert "on width alone" in found.in_words


def test_the_choice_of_a_model_does_not_flatter_what_it_left_out():
    """Predictions of left-out noise have no better correlation than chance in the mean over many draws."""
    taus = []
    for seed in range(6):
        features, y = drawn(10, 100 + seed, 1.0, lambda x: 0 * x[:, 0])
        taus.append(learn(Lessons(features=features, accuracies=y)).kendall.value)
    assert np.mean(taus) < 0.1


def test_it_is_the_same_again_and_other_units_change_nothing():
    features, y = drawn(12, 7, 0.2, line)
    one, again = (learn(Lessons(features=features, accuracies=y), seed=3) for _ in range(2))
    assert one.left_out == again.left_out
    scaled = learn(Lessons(features={n: 1000 * v + 5 for n, v in features.items()}, accuracies=100 * y), seed=3)
    assert np.array(scaled.left_out) / 100 == pytest.approx(one.left_out, rel=1e-3, abs=1e-3)
    assert json.loads(json.dumps(one.to_dict()))["kind"] == one.kind


@pytest.mark.parametrize(
    ("features", "accuracies", "said"),
    [
        ({"a": [1, 2, 3, 4]}, [1, 2, 3, 4], f"nothing can be learned from 4 architectures; train at least {LEAST}"),
        ({"a": [1, 2, 3, 4]}, [1, 2, 3, 4, 5], "feature 'a' has 4 values for 5 architectures"),
        ({"a": [1, 2, 3, 4, math.inf]}, [1, 2, 3, 4, 5], "feature 'a' has a value that is not a finite number"),
        ({"a": [1, 2, 3, 4, 5]}, [1, 2, 3, 4, math.nan], "feature 'accuracy' has a value that is not a finite number"),
        ({"a": [1] * 5}, [1, 2, 3, 4, 5], "all features are the same for all architectures"),
        ({"a": [1, 2, 3, 4, 5]}, [1] * 5, "all architectures are equally accurate"),
    ],
)
def test_what_cannot_teach_is_refused(features, accuracies, said):
    with pytest.raises(ValueError, match=said):
        Lessons(features=features, accuracies=accuracies)


def test_a_missing_feature_is_named():
    features, y = drawn(10, 0, 0.1, line)
    found = learn(Lessons(features=features, accuracies=y))
    with pytest.raises(ValueError, match=r"feature 'x[0-3]' is missing"):
        found.predict({"z": [1.0]})


def test_features_of_networks():
    plain = Architecture.from_text("C=64,depth=2,heads=4/8,ratio=2/4")
    other = Architecture.from_text("C=64,depth=2,mixer=depthwise/ssa,heads=-/8,kernel=3/-,ratio=2,stem=sdt")
    found = features_of(plain, DIGITS, 0.5)
    assert (found["width"], found["depth"], found["MLP ratio"], found["heads"]) == (6, 2, 3, 6)
    assert found["energy"] == -1
    assert sum(value for name, value in found.items() if name.startswith("MACs of ")) == pytest.approx(1)
    both = columns([found, features_of(other, DIGITS, 0.5)])
    assert both["share of depthwise"] == (0, 0.5)
    assert both["stem sdt"] == (0, 1)
    assert both["stem autost"] == (1, 0)
    assert all(len(values) == 2 for values in both.values())


def test_a_table_is_learned_from(cli):
    table = str(ROOT / "studies" / "proxy_validity" / "results-cpu.csv")
    words = ["validate", "--table", table, "--target", "test_accuracy", "--proxy", "flops", "--group", "architecture"]
    named = ["--feature", "embed_dim", "--feature", "depth", "--feature", "ratio"]
    found = json.loads(cli(*words, *named, "--learn", "-f", "json", "--samples", "100").stdout)
    assert {one["name"] for one in found["proxies"]} == {"flops", "learned"}
    assert found["predictor"]["best"] == "embed_dim"
    assert len(found["predictor"]["left_out"]) == found["architectures"] == 40
    for wrong in (named, ["demo", *named, "--learn"]):
        refused = cli(*(words if wrong is named else ["validate"]), *wrong)
        assert refused.exit_code == 2
        assert refused.stderr.startswith("error: --feature is for --learn on a table")
