"""The study of searched networks against sizes chosen by hand: who is chosen, what is trained first, and how it is judged."""

import csv
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from makers import uniform

from autost_optuna import Space, Task
from autost_optuna.search.describe import describe
from autost_optuna.search.exact import class_of

FOLDER = Path(__file__).parent.parent / "studies" / "cifar10_headline"
NAMES = ("contestants", "report", "run")
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, pooling="0001")
SPACE = Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))


@pytest.fixture(scope="module")
def study():
    """The modules of the study, which import each other by their plain names."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def candidate(*shape, energy_mj, flops):
    return replace(describe(uniform(*shape), TASK).candidate, energy_mj=energy_mj, flops=flops)


@pytest.mark.slow
def test_the_nearest_is_on_the_front_where_that_has_one(study):
    nearest = study["contestants"].nearest
    baseline = candidate(32, 2, 2, energy_mj=1.0, flops=100)
    front = candidate(16, 3, 2, energy_mj=0.98, flops=200)
    near_but_dominated = candidate(32, 1, 2, energy_mj=1.0, flops=50)
    far = candidate(16, 1, 1, energy_mj=0.2, flops=20)
    assert nearest([front, near_but_dominated, far], baseline, "energy_mj") == (front, "front")
    assert nearest([near_but_dominated, far], baseline, "energy_mj") == (near_but_dominated, "front")
    # At equal FLOPs the front has none; of those within 3 % the one that is not dominated by another of these is taken.
    cheap = candidate(16, 2, 2, energy_mj=0.9, flops=101)
    above = candidate(16, 2, 1, energy_mj=0.5, flops=150)
    dear = candidate(32, 3, 1, energy_mj=2.0, flops=100)
    assert nearest([above, cheap, dear], baseline, "flops") == (cheap, "front of those within 3%")
    wide = candidate(32, 3, 2, energy_mj=1.08, flops=300)
    assert nearest([wide], baseline, "energy_mj") == (wide, "front, within 10%")
    assert nearest([far], baseline, "energy_mj") == (None, "nothing within 10%")


@pytest.mark.slow
def test_luck_is_of_another_class_than_the_baseline(study):
    contestants, drawn = study["contestants"], 0
    space = replace(SPACE, embed_dim=(16, 24, 32, 40), depth=(1, 2, 3, 4, 5, 6), mlp_ratio=(1, 2, 3))
    for shape in ((32, 2, 1), (32, 2, 2), (24, 4, 2), (16, 1, 1)):
        baseline = describe(uniform(*shape), TASK).candidate
        found, where = contestants.by_luck(space, baseline, TASK, draws=20_000)
        if found is None:
            assert where == "none in 20,000 draws"
        else:
            drawn += 1
            assert class_of(found) != class_of(baseline.architecture)
            assert abs(contestants.count_params(found, TASK) / baseline.params - 1) <= 0.03
            assert found.embed_dim in space.embed_dim
    assert 0 < drawn < 4  # nothing is as small as the last


def test_where_a_baseline_stands(study):
    pool = [
        candidate(16, 2, 1, energy_mj=0.5, flops=150),
        candidate(16, 3, 1, energy_mj=1.0, flops=120),
        candidate(32, 2, 2, energy_mj=1.0, flops=100),
        candidate(32, 3, 2, energy_mj=3.0, flops=300),
    ]
    standing = study["contestants"].standing
    told = standing(SPACE, pool[2], pool)
    assert (told["classes"], told["dominated_by"]) == (4, 2)
    assert (told["own_class_is_in_the_space"], told["own_class_is_on_the_front"]) == (True, False)
    assert standing(SPACE, pool[3], pool)["own_class_is_on_the_front"]
    assert standing(SPACE, pool[2], pool[:2])["own_class_is_in_the_space"] is False


CHOSEN = {
    "scale": {
        "baselines": [{"name": "A"}, {"name": "B"}],
        "spaces": [{"name": "s"}],
        "seeds": [0, 1],
        "more_seeds": [2],
    },
    "contestants": {key: {"name": name} for key, name in (("a", "A"), ("b", "B"), ("r", "R"), ("p", "P"), ("t", "T"))},
    "roles": [
        {"baseline": "A", "space": "s", "role": "equal energy", "key": "r", "same_shape": False},
        {"baseline": "A", "space": "s", "role": "equal parameters", "key": "p", "same_shape": False},
        {"baseline": "B", "space": "s", "role": "equal energy", "key": "t", "same_shape": True},
        {"baseline": "B", "space": "s", "role": "equal FLOPs", "key": None},
    ],
}


def test_the_main_pair_comes_first_and_twins_last(study):
    assert list(study["run"].tiers(CHOSEN)) == [
        [("a", 0), ("r", 0), ("a", 1), ("r", 1)],
        [("b", 0), ("p", 0)],
        [("b", 1), ("p", 1)],
        [("a", 2), ("r", 2)],
        [("t", 0), ("t", 1)],
    ]


def test_tiers_go_before_epochs_go_below_the_least(study):
    fit, parts = study["run"].fit, [[("a", 0)], [("b", 0), ("b", 1)]]
    costs = {"a": (10.0, 5.0), "b": (20.0, 5.0)}  # seconds an epoch, and after the last
    assert fit(parts, costs, (3, 9), 165) == {"epochs": 3, "tiers": 2}  # 50 s an epoch, 15 s after
    assert fit(parts, costs, (3, 9), 164) == {"epochs": 9, "tiers": 1}
    assert fit(parts, costs, (3, 9), 46) == {"epochs": 4, "tiers": 1}
    with pytest.raises(SystemExit, match="does not hold 3 epochs of the first tier; leave at least 39 s"):
        fit(parts, costs, (3, 9), 34)


def test_one_process_has_a_job(study, tmp_path):
    claimed = study["run"].claimed
    with claimed(tmp_path / "jobs" / "one") as mine:
        assert mine
        with claimed(tmp_path / "jobs" / "one") as again:
            assert not again
        with claimed(tmp_path / "jobs" / "two") as other:
            assert other
    with claimed(tmp_path / "jobs" / "one") as mine:
        assert mine


def runs(*rows):
    return {seed: {"test_accuracy": accuracy, "measured_mj": energy} for seed, (accuracy, energy) in enumerate(rows)}


BASELINE = runs((0.80, 1.0), (0.81, 1.0), (0.82, 1.0))


@pytest.mark.parametrize(
    ("rival", "verdict"),
    [
        (runs((0.90, 0.5), (0.91, 0.51), (0.92, 0.5)), "better"),
        (runs((0.90, 0.9), (0.91, 1.1), (0.92, 1.0)), "better"),
        (runs((0.90, 1.5), (0.91, 1.51), (0.92, 1.5)), "trade-off"),
        (runs((0.70, 0.5), (0.71, 0.51), (0.72, 0.5)), "trade-off"),
        (runs((0.70, 1.5), (0.71, 1.51), (0.72, 1.5)), "worse"),
        (runs((0.70, 1.5), (0.91, 1.51), (0.82, 1.5)), "undecided"),
        (runs((0.90, 0.5)), "one seed"),
    ],
)
def test_a_verdict_is_of_accuracy_and_energy(study, rival, verdict):
    assert study["report"].compared(BASELINE, rival)["verdict"] == verdict


def test_intervals_are_students_over_the_seeds(study):
    found = study["report"].compared(BASELINE, runs((0.81, 1.1), (0.83, 1.1), (0.85, 1.1)))
    # Differences of 1, 2 and 3 points: mean 2, deviation 1, and 4.303 standard errors to each side.
    assert (found["seeds"], found["points"]) == (3, 2.0)
    assert found["points_low"] == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-3)
    assert found["points_high"] == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-3)
    assert found["energy_percent"] == pytest.approx(10)
    one = study["report"].compared(BASELINE, runs((0.81, 1.1)))
    assert (one["points_low"], one["energy_percent_high"]) == (None, None)


def test_pairs_are_counted_once_and_twins_apart(study):
    def row(role, contestant, verdict, *, same_shape=False):
        return {"baseline": "A", "contestant": contestant, "role": role, "verdict": verdict, "same_shape": same_shape}

    found = [
        row("equal energy", "R", "worse"),
        row("equal FLOPs", "R", "worse"),
        row("equal parameters", "T", "undecided", same_shape=True),
        row("random at equal parameters", "L", "worse"),
        row("depth at most 3 at equal energy", "D", "better"),
    ]
    assert study["report"].counts(found) == {
        "search": {"worse": 1},
        "search, of the baseline's width and depth": {"undecided": 1},
        "random": {"worse": 1},
        "changes": {"better": 1},
    }


def table(name):
    with (FOLDER / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_said_is_what_was_measured(study):
    summary = json.loads((FOLDER / "summary-cpu.json").read_text())
    said = (FOLDER / "README.md").read_text()
    rows, by_name = table("results-cpu.csv"), {}
    for row in rows:
        figures = {name: float(row[name]) for name in ("test_accuracy", "measured_mj")}
        by_name.setdefault(row["contestant"], {})[row["seed"]] = figures
    assert (summary["trainings"], summary["failures"]) == (len(rows), [])
    for name, runs in by_name.items():
        (line,) = (line for line in said.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {100 * fmean(run['test_accuracy'] for run in runs.values()):.2f}" in line
        assert f"| {fmean(run['measured_mj'] for run in runs.values()):.5f}" in line
    found = table("comparisons-cpu.csv")
    assert len(found) == len(summary["sentences"]) > 10
    for row, sentence in zip(found, summary["sentences"], strict=True):
        again = study["report"].compared(by_name[row["baseline"]], by_name[row["contestant"]])
        assert (again["verdict"], f"{again['points']:.2f}") == (row["verdict"], f"{float(row['points']):.2f}")
        assert f"- {sentence}." in said
        assert f" {again['points']:+.2f} points" in sentence
    # The plan was run to its end: all contestants, each with all seeds, none of a row that no space has.
    chosen = {row["contestant"] for row in table("contestants-cpu.csv")} - {""}
    assert set(by_name) == chosen | {row["name"] for row in summary["scale"]["baselines"]}
    assert all({"0", "1", "2"} <= set(runs) for runs in by_name.values())
