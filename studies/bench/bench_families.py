"""Time a candidate of a search of the space families against a plain forward pass of the same networks.

    python studies/bench/bench_families.py --data-root DIR [--trials 1000] [--passes 40] [--seed 0]

A candidate is a whole trial: sampling, counting, rates at initialisation with what candidates share measured once, energy,
storage; the measurement of the study's box is a part of the first. After the search, for every (trials / passes)-th
candidate, built and with batch statistics and no gradients, on the same 4 images:

    plain    one forward pass, SpikingJelly's neurons, float32, a hook on each layer that takes its rate (as in bench_energy)
    fused    one forward pass with this project's neurons and nothing else

`ratio` is the mean trial over the mean plain pass (a third at most is wanted), `ratio_fused` that over the mean fused pass.
The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
import unittest.mock
from pathlib import Path
from statistics import fmean

import optuna
import torch
from bench_energy import hooked

from autost_optuna import SpikingTransformer
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.neurons.module import HardResetModule, NeuronModule
from autost_optuna.network.task import Task
from autost_optuna.proxies.rates import batch_statistics, measuring
from autost_optuna.search.objective import Objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.space.space import Space
from autost_optuna.storage.storage import open_storage


def theirs(neuron, x):
    """What SpikingJelly's class computes."""
    return super(NeuronModule, neuron).multi_step_forward(x)


def seconds(call, *arguments):
    """Those of the second of two calls."""
    call(*arguments)
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, task = Space.load("families"), Task.preset("cifar10")
    images = rate_images(task, Sample(data="cifar10", data_root=options.data_root, images=4, seed=options.seed))
    objective = Objective(space, task, images=images, seed=options.seed)
    sampler = DeclaredNSGAIISampler(space.distributions(), active=space.active, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(str(Path(folder) / "bench.journal"), create=True)
        study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
        start = time.perf_counter()
        study.optimize(objective, n_trials=options.trials)
        trial_s = (time.perf_counter() - start) / options.trials
        trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    sample = trials[:: max(1, len(trials) // options.passes)][: options.passes]
    passes = {"plain": [], "fused": []}
    for trial in sample:
        network = SpikingTransformer(space.architecture(trial.params), task)
        with measuring(), batch_statistics(network):
            passes["fused"].append(seconds(network, images.images))
            with unittest.mock.patch.object(HardResetModule, "multi_step_forward", theirs):
                passes["plain"].append(seconds(hooked, network, images.images))
    result = {
        "benchmark": "families",
        "ratio": trial_s / fmean(passes["plain"]),
        "ratio_fused": trial_s / fmean(passes["fused"]),
        "trial_s": trial_s,
        "plain_s": fmean(passes["plain"]),
        "fused_s": fmean(passes["fused"]),
        "trials": options.trials,
        "passes": len(sample),
        "threads": torch.get_num_threads(),
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
