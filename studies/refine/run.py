"""How few trainings find the front of accuracy against cost: proposals replayed on published tables, without training.

    python studies/refine/run.py --macro nas_bench_macro_cifar10.csv.gz --nb201 naslib_zc_nb201.csv.gz [--seeds 20]
                                 [--methods refine,random,tpe,nsga2,flops,gp] [--tables macro,cifar10,cifar100,ImageNet16-120]

NAS-Bench-Macro has one row per network: `arch`, eight digits of 0 (a block is skipped), 1 or 2; `acc0` to `acc2`, the
accuracies of three trainings; `mean` of these; `flops`. A method sees `acc0` of what it trains and is judged by `mean`.
NAS-Bench-201 has some 725 networks for each of three data sets: `arch`, six operations; `flops`; `val_accuracy`, which is
seen and judged. Judged is the hypervolume of all that was trained, against the logarithm of FLOPs, as a share of that of all
networks. The reference point is 1.02 times the most FLOPs and 85 % (Macro), 80, 55 and 30 % (NAS-Bench-201). Methods:

- refine: 24 networks, one of each quantile of FLOPs; then two at a time by expected gain of hypervolume
- random: networks at random
- tpe, nsga2, gp: Optuna's multivariate TPE, NSGA-II (population 24) and Gaussian process on both objectives; a network that was
  trained before, or is not in the table, is not counted
- flops: as many networks at even distances among all, sorted by FLOPs

The last line is one JSON object; results.json holds it.
"""

import argparse
import ast
import csv
import gzip
import json
import math
import time
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import optuna

from autost_optuna.evidence.gain import begin, hypervolume_of, proceed

HERE = Path(__file__).parent
COUNTS = {"macro": (20, 40, 60, 80, 120, 130, 160)}
FEWER = (20, 40, 60, 80)  # of a table of 725
WORST = {"macro": 85.0, "cifar10": 80.0, "cifar100": 55.0, "ImageNet16-120": 30.0}
FIRST, BATCH = 24, 2


class Table:
    """Published trainings, as arrays over networks."""

    def __init__(self, name, given):
        macro = name == "macro"
        with gzip.open(given.macro if macro else given.nb201, "rt") as file:
            rows = [row for row in csv.DictReader(file) if macro or row["dataset"] == name]
        self.words = [tuple(map(int, row["arch"])) if macro else ast.literal_eval(row["arch"]) for row in rows]
        self.places = {word: place for place, word in enumerate(self.words)}
        self.seen = np.array([float(row["acc0" if macro else "val_accuracy"]) for row in rows])
        self.judged = np.array([float(row["mean" if macro else "val_accuracy"]) for row in rows])
        self.costs = np.log(np.array([float(row["flops"]) for row in rows]))
        digits = np.array(self.words)
        self.choices = 1 + int(digits.max())
        hot = [digits[:, place] == digit for place in range(digits.shape[1]) for digit in range(1, self.choices)]
        self.features = np.column_stack([*hot, self.costs]).astype(float)
        self.worst = float(self.costs.max() + math.log(1.02)), WORST[name]
        self.whole = hypervolume_of(self.costs, self.judged, self.worst)
        self.counts = COUNTS.get(name, FEWER)

    def share(self, trained):
        return hypervolume_of(self.costs[trained], self.judged[trained], self.worst) / self.whole


def refine(table, seed):
    trained, most = begin(FIRST, table.costs, seed), max(table.counts)
    while len(trained) < most:
        known = trained, table.seen[trained]
        trained += proceed(BATCH, (table.features, table.costs), known, table.worst, seed)
    return trained


def at_random(table, seed):
    return np.random.default_rng(seed).permutation(len(table.words)).tolist()


def by_optuna(sampler):
    def method(table, seed):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(seed))
        trained, most = [], max(table.counts)
        while len(trained) < most and len(study.get_trials(deepcopy=False)) < 100 * most:
            trial = study.ask()
            word = [
                trial.suggest_categorical(f"gene{n}", list(range(table.choices))) for n in range(len(table.words[0]))
            ]
            place = table.places.get(tuple(word))
            if place is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            study.tell(trial, [table.seen[place], table.costs[place]])
            if place not in trained:
                trained.append(place)
        return trained

    return method


METHODS = {
    "refine": refine,
    "random": at_random,
    "tpe": by_optuna(lambda seed: optuna.samplers.TPESampler(multivariate=True, seed=seed)),
    "nsga2": by_optuna(lambda seed: optuna.samplers.NSGAIISampler(population_size=24, seed=seed)),
    "gp": by_optuna(lambda seed: optuna.samplers.GPSampler(seed=seed)),
}


def replayed(table, name, seeds):
    shares = {count: [] for count in table.counts}
    for seed in range(seeds):
        if name == "flops":  # others for every count, and the same for every seed
            order = np.argsort(table.costs, kind="stable")
            every = {count: order[np.linspace(0, len(order) - 1, count).round().astype(int)] for count in table.counts}
        else:
            trained = METHODS[name](table, seed)
            every = {count: trained[:count] for count in table.counts}
        for count, some in every.items():
            shares[count].append(table.share(some))
    return {
        str(count): {"mean": fmean(values), "deviation": stdev(values), "least": min(values)}
        for count, values in shares.items()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--macro", required=True)
    parser.add_argument("--nb201", required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", default="refine,random,tpe,nsga2,flops")
    parser.add_argument("--tables", default=",".join(WORST))
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = HERE / "results.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    for of in given.tables.split(","):
        table = Table(of, given)
        kept = result.setdefault(of, {"networks": len(table.words), "worst_accuracy": WORST[of], "methods": {}})
        for name in given.methods.split(","):
            start = time.perf_counter()
            shares = replayed(table, name, given.seeds)
            kept["methods"][name] = {"seeds": given.seeds, "shares": shares, "seconds": time.perf_counter() - start}
            path.write_text(json.dumps(result, indent=2) + "\n")
            print(of, name, {count: round(one["mean"], 3) for count, one in shares.items()}, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
