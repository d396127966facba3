"""Time a trial of the search against the straightforward loop: same sampler, storage, space, task and images.

    python studies/bench/bench_search.py --data-root DIR [--trials 500] [--theirs 20] [--seed 0]

Ours is `Objective`; theirs builds each network and runs one forward under SpikingJelly's `estimate_simple_energy`, with
SpikingJelly's own neurons. Theirs takes seconds a trial, so it runs a sample: every (trials / theirs)-th architecture of our
search, enqueued in a study of its own with the same sampler on the same kind of storage. `ratio` is the mean wall time of
a trial there over the mean of all our trials, start-up of either included. The last line is one JSON object.
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

from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import chain
from autost_optuna.network.neurons.plif_torch import PLIFModule
from autost_optuna.network.task import Task
from autost_optuna.proxies.flops import count_flops
from autost_optuna.search.objective import Objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.space.space import Space
from autost_optuna.storage.storage import open_storage


class Plain(torch.nn.Module):
    """The network as one would write it: torch's constructors, then AutoST's initialisation of linear layers."""

    def __init__(self, architecture, task):
        super().__init__()
        links = list(chain(architecture, task))
        self.parts = torch.nn.ModuleList(part.module(at) for at, part, _ in links)
        self.adds = [adds for _, _, adds in links]
        for module in self.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.trunc_normal_(module.weight, std=0.02)
                torch.nn.init.zeros_(module.bias)

    def forward(self, images):
        x = images
        for part, adds in zip(self.parts, self.adds, strict=True):
            x = x + part(x) if adds else part(x)
        return x


class Straightforward:
    """The objective as one would write it: build, run under the counter with SpikingJelly's own neurons, throw away."""

    def __init__(self, space, task, images, seed):
        self.space, self.task, self.images = space, task, images
        torch.manual_seed(seed)

    def __call__(self, trial):
        architecture = self.space.suggest(trial)
        network = Plain(architecture, self.task).train()  # batch statistics
        with unittest.mock.patch.object(PLIFModule, "multi_step_forward", ParametricLIFNode.multi_step_forward):
            report = estimate_simple_energy(network, self.images)
        return float(count_flops(architecture, self.task)), report.energy_total_pj * 1e-9 / len(self.images)


def search(objective, trials, seed, folder, queue=()):
    """Wall seconds of each trial, split into sampling, evaluation, and the rest, which is storage."""
    space = objective.space
    sampler = DeclaredNSGAIISampler(space.distributions(), active=space.active, seed=seed)
    storage = open_storage(str(folder / "bench.journal"), create=True)
    study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
    for parameters in queue:
        study.enqueue_trial(parameters)
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
        architecture = objective.space.suggest(trial)  # asks storage and sampler; repeated, it answers from memory
        begun = time.perf_counter()
        values = objective(trial)
        evaluation = time.perf_counter() - begun
        study.tell(trial, values)
        total = time.perf_counter() - start
        storage_s = max(0.0, total - evaluation - spent[0])
        rows.append({"total": total, "sampling": spent[0], "storage": storage_s, "evaluation": evaluation})
        rows[-1] |= {"parameters": dict(trial.params), "depth": architecture.depth}
    return rows


def mean(rows, field):
    return sum(row[field] for row in rows) / len(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--theirs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, task = Space.load("small"), Task.preset("cifar10")
    images = rate_images(task, Sample(data="cifar10", data_root=options.data_root, images=4, seed=options.seed))
    with tempfile.TemporaryDirectory() as folder:
        objective = Objective(space, task, images=images, seed=options.seed)
        ours = search(objective, options.trials, options.seed, Path(folder))
    sample = ours[options.trials // options.theirs // 2 :: options.trials // options.theirs][: options.theirs]
    print(f"ours: {mean(ours, 'total'):.4f} s a trial over {len(ours)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        straightforward = Straightforward(space, task, images.images, options.seed)
        queue = [row["parameters"] for row in sample]
        theirs = search(straightforward, len(queue), options.seed, Path(folder), queue)
    assert [row["parameters"] for row in theirs] == queue
    fields = ("total", "sampling", "storage", "evaluation")
    result = {
        "benchmark": "search",
        "ratio": mean(theirs, "total") / mean(ours, "total"),
        "ratio_evaluation": mean(theirs, "evaluation") / mean(ours, "evaluation"),
        "ours_s": {field: mean(ours, field) for field in fields},
        "theirs_s": {field: mean(theirs, field) for field in fields},
        "trials": {"ours": len(ours), "theirs": len(theirs)},
        "mean_depth": {"ours": mean(ours, "depth"), "theirs": mean(theirs, "depth")},
        "threads": torch.get_num_threads(),
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
