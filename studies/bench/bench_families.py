"""Time a candidate of a search of the space families against a plain forward pass of the same networks.

    python studies/bench/bench_families.py --data-root DIR [--trials 1000] [--passes 40] [--seed 0]

A candidate is a whole trial: sampling, counting, rates at initialisation with what candidates share measured once, energy,
storage. A plain pass is the forward of the built network alone, with batch statistics and without gradients, on the same 4
images; building it is not counted. `ratio` is the mean trial over the mean pass of every (trials / passes)-th candidate,
timed after the search in the same process. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean

import optuna
import torch

from autost_optuna import SpikingTransformer
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.task import Task
from autost_optuna.proxies.rates import batch_statistics, measuring
from autost_optuna.search.objective import Objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.space.space import Space
from autost_optuna.storage.storage import open_storage


def forward_s(architecture, task, images):
    """Seconds of one forward pass, the second of two."""
    network = SpikingTransformer(architecture, task)
    with measuring(), batch_statistics(network):
        network(images)
        start = time.perf_counter()
        network(images)
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
    passes = [forward_s(space.architecture(trial.params), task, images.images) for trial in sample]
    result = {
        "benchmark": "families",
        "ratio": trial_s / fmean(passes),
        "trial_s": trial_s,
        "pass_s": fmean(passes),
        "trials": options.trials,
        "passes": len(passes),
        "threads": torch.get_num_threads(),
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
