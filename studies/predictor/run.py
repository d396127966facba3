"""What a predictor is worth on networks that it has not seen, and whether it knows: replayed on NAS-Bench-Macro.

    python studies/predictor/run.py --table nas_bench_macro_cifar10.csv.gz [--seeds 10]

The table has one row per network: `arch`, eight digits; `acc0` to `acc2`, the accuracies of three trainings; `mean`, `params`
and `flops`. So many networks are drawn at random and learned from by the accuracy of one training, with the digits, whether a
block is skipped, and the logarithm of FLOPs as features. Kendall's tau and the coverage of the 80 % intervals that the
predictor expects from its left-out predictions stand beside those on all other networks, judged by the mean of three trainings
(tau) and by one (coverage). The last line is one JSON object; results.json holds it.
"""

import argparse
import csv
import gzip
import itertools
import json
import math
import time
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from autost_optuna.evidence.predictor import HALF, Lessons, learn
from autost_optuna.ranks import kendall

HERE = Path(__file__).parent
SIZES = (20, 40, 80, 160)
NAMES = ("expected", "unseen", "flops", "expected_coverage", "coverage", "seconds")


def tau(first, second):
    return float(kendall(np.asarray(first, float), np.asarray(second, float), np.ones((1, len(first)), np.float32))[0])


def features(rows):
    found = {"flops": [math.log(float(row["flops"])) for row in rows]}
    for place, digit in itertools.product(range(8), "12"):
        found[f"block {place} is {digit}"] = [float(row["arch"][place] == digit) for row in rows]
    return found


def replay(rows, size, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    drawn, others = [rows[place] for place in order[:size]], [rows[place] for place in order[size:]]
    start = time.perf_counter()
    lessons = Lessons(features=features(drawn), accuracies=[float(row["acc0"]) for row in drawn])
    found = learn(lessons, seed)
    seconds = time.perf_counter() - start
    means, deviations = found.predict(features(others))
    seen = np.array([float(row["acc0"]) for row in others])
    return {
        "kind": found.kind,
        "expected": found.kendall.value,
        "unseen": tau(means, [float(row["mean"]) for row in others]),
        "flops": tau([float(row["flops"]) for row in others], [float(row["mean"]) for row in others]),
        "expected_coverage": found.coverage,
        "coverage": float((np.abs(means - seen) <= HALF * deviations).mean()),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", required=True)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    with gzip.open(given.table, "rt") as file:
        rows = list(csv.DictReader(file))
    result = {"networks": len(rows), "seeds": given.seeds, "sizes": {}}
    for size in SIZES:
        found = [replay(rows, size, seed) for seed in range(given.seeds)]
        summary = {
            "kinds": {kind: sum(one["kind"] == kind for one in found) for kind in {one["kind"] for one in found}}
        }
        for name in NAMES:
            values = [one[name] for one in found]
            summary[name] = {"mean": fmean(values), "deviation": stdev(values)}
        result["sizes"][str(size)] = summary
        print(size, {name: round(summary[name]["mean"], 3) for name in NAMES}, summary["kinds"])
    (HERE / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
