"""Time a trial of the search against the straightforward loop: same sampler, storage, space, task and images.

    python studies/bench/bench_search.py --data-root DIR [--trials 200] [--theirs 10] [--seed 0]

Theirs builds each network and runs one forward under SpikingJelly's `estimate_simple_energy`; ours is `Objective`.
Both run NSGA-II on a journal file from the same seed. Theirs is slow, so fewer trials are timed: they are our first ones,
architecture by architecture, and `ratio_same_trials` compares the same trials on both sides (ours without the benefit
of a long run). `ratio` compares the means. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
import unittest.mock
from pathlib import Path

import optuna
import torch
from spikingjelly.activation_based.neuron import ParametricLIFNode
from spikingjelly.activation_based.op_counter import estimate_simple_energy

from autost_optuna.data import rate_images
from autost_optuna.model.neuron import PLIF
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.objective import Objective
from autost_optuna.proxies.flops import count_flops
from autost_optuna.space import Space
from autost_optuna.storage import open_storage
from autost_optuna.task import Task


class Straightforward:
    """The objective as one would write it: build, run under the counter with SpikingJelly's own neurons, throw away."""

    def __init__(self, space, task, images, seed):
        self.space, self.task, self.images, self.seed = space, task, images, seed

    def __call__(self, trial):
        architecture = self.space.suggest(trial)
        network = SpikingTransformer(architecture, self.task, seed=self.seed).train()  # batch statistics
        with unittest.mock.patch.object(PLIF, "multi_step_forward", ParametricLIFNode.multi_step_forward):
            report = estimate_simple_energy(network, self.images)
        return float(count_flops(architecture, self.task)), report.energy_total_pj * 1e-9 / len(self.images)


def search(objective, trials, seed, folder):
    """Wall seconds of each trial, split into asking and telling (sampling and storage) and evaluation."""
    sampler = optuna.samplers.NSGAIISampler(seed=seed)
    storage = open_storage(str(folder / "bench.journal"), create=True)
    study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
    rows, spent = [], [0.0]

    def clocked(part):
        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return part(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - start

        return call

    for name in ("infer_relative_search_space", "sample_relative", "sample_independent", "before_trial", "after_trial"):
        setattr(sampler, name, clocked(getattr(sampler, name)))
    for _ in range(trials):
        spent[0] = 0.0
        start = time.perf_counter()
        trial = study.ask()
        suggested = objective.space.suggest(trial)  # a trial answers a repeated question from memory
        begun = time.perf_counter()
        values = objective(trial)
        evaluated = time.perf_counter() - begun
        study.tell(trial, values)
        total = time.perf_counter() - start
        rows.append({"total": total, "evaluation": evaluated, "sampling": spent[0], "architecture": suggested.key})
        rows[-1]["storage"] = max(0.0, total - evaluated - spent[0])
    return rows


def mean(rows, field):
    return sum(row[field] for row in rows) / len(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--theirs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, task = Space.load("small"), Task.preset("cifar10")
    images = rate_images(task, data="cifar10", root=options.data_root, count=4, seed=options.seed)
    sides = {
        "theirs": (lambda: Straightforward(space, task, images.images, options.seed), options.theirs),
        "ours": (lambda: Objective(space, task, images=images, seed=options.seed), options.trials),
    }
    rows = {}
    for name, (make, trials) in sides.items():
        objective = make()
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = search(objective, trials, options.seed, Path(folder))
        print(f"{name}: {mean(rows[name], 'total'):.4f} s a trial over {trials}", flush=True)
    fields = ("total", "sampling", "storage", "evaluation")
    same = rows["ours"][: options.theirs]
    result = {
        "benchmark": "search",
        "ratio": mean(rows["theirs"], "total") / mean(rows["ours"], "total"),
        "ratio_same_trials": mean(rows["theirs"], "total") / mean(same, "total"),
        "same_first_architecture": rows["theirs"][0]["architecture"] == same[0]["architecture"],
        "ours_s": {field: mean(rows["ours"], field) for field in fields},
        "theirs_s": {field: mean(rows["theirs"], field) for field in fields},
        "trials": {"ours": options.trials, "theirs": options.theirs},
        "threads": torch.get_num_threads(),
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
