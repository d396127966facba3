"""Time the energy of an architecture against a plain forward pass and SpikingJelly's estimate: same networks, same images.

    python studies/bench/bench_energy.py --data-root DIR [--trials 1000] [--sample 100] [--simple 8] [--seed 0] [--device cpu]

A search of `small` runs `--trials` trials and the evaluation of each candidate is timed, with all that the search reuses.
Then, for a sample of its candidates, evenly spaced, in turns:

    fresh    the same evaluation with nothing to reuse: weights drawn, network built, rates measured, energy and spread charged
    plain    one forward pass of the built network, SpikingJelly's neurons, float32, a hook on each layer that takes its rate
    fused    the same pass with this project's neurons
    simple   SpikingJelly's estimate_simple_energy of the built network (of the first `--simple` of the sample)

`ratio_fresh` = fresh / plain (1.3 at most is wanted), `ratio_reuse` = plain / search (3 at least), both of mean times; the
last line is one JSON object.
"""

import argparse
import json
import statistics
import time
import unittest.mock
from pathlib import Path

import optuna
import torch
from spikingjelly.activation_based.neuron import ParametricLIFNode
from spikingjelly.activation_based.op_counter import estimate_simple_energy

from autost_optuna import Objective, Space, SpikingTransformer, Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import operations
from autost_optuna.network.neurons.plif_torch import PLIFModule
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.rates import batch_statistics
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.evaluate import evaluate
from autost_optuna.search.sampler import DeclaredNSGAIISampler


class Clock:
    """Wall seconds of calls, by name; a GPU is waited for."""

    def __init__(self, device):
        self.wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
        self.seconds = {}

    def time(self, name, call, *arguments):
        self.wait()
        start = time.perf_counter()
        result = call(*arguments)
        self.wait()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        return result

    def mean(self, name):
        return statistics.fmean(self.seconds[name])


def hooked(network, images):
    """The rates of a plain pass, as one would take them: a mean of each layer's input, one number a layer."""
    rates = {}
    driven = [row.name for row in operations(network.architecture, network.task) if row.driven_by != REAL]
    handles = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs, name=name: rates.update({name: inputs[getattr(module, "driver", 0)].mean()})
        )
        for name in driven
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return {name: rate.item() for name, rate in rates.items()}


def fresh(architecture, drawn, options):
    images = drawn.images.to(options.device)
    return evaluate(architecture, InitialRates(Task.preset("cifar10"), images, seed=options.seed))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--simple", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, task, clock = Space.load("small"), Task.preset("cifar10"), Clock(options.device)
    drawn = rate_images(task, Sample(data="cifar10", data_root=options.data_root, images=4, seed=options.seed))
    images = drawn.images.to(options.device)
    original = ParametricLIFNode.multi_step_forward

    objective = Objective(space, task, images=drawn, seed=options.seed, device=options.device)
    study = optuna.create_study(
        sampler=DeclaredNSGAIISampler(space.distributions(), active=space.active, seed=options.seed),
        directions=["maximize", "minimize"],
    )
    found = []
    for _ in range(options.trials):
        trial = study.ask()
        architecture = space.suggest(trial)
        candidate = clock.time("search", objective.evaluate, architecture)
        study.tell(trial, (candidate.flops, candidate.energy_mj))
        found.append(candidate)
    print(f"search: {clock.mean('search'):.4f} s a candidate over {len(found)}", flush=True)

    step = options.trials / options.sample
    for index in range(options.sample):
        known = found[int((index + 0.5) * step)]
        architecture = known.architecture

        if not index:  # what torch sets up once
            fresh(architecture, drawn, options)
        candidate = clock.time("fresh", fresh, architecture, drawn, options)
        assert candidate.energies_mj == known.energies_mj
        network = SpikingTransformer(architecture, task, seed=options.seed).to(options.device)
        with batch_statistics(network):
            clock.time("fused", hooked, network, images)
            with unittest.mock.patch.object(PLIFModule, "multi_step_forward", original):
                clock.time("plain", hooked, network, images)
                if index < options.simple:
                    clock.time("simple", estimate_simple_energy, network, images)
    sizes = {name: len(values) for name, values in clock.seconds.items()}
    head = {name: statistics.fmean(clock.seconds[name][: options.simple]) for name in ("fresh", "simple")}
    print(
        json.dumps(
            {
                "benchmark": "energy",
                "ratio_fresh": clock.mean("fresh") / clock.mean("plain"),
                "ratio_fresh_fused": clock.mean("fresh") / clock.mean("fused"),
                "ratio_reuse": clock.mean("plain") / clock.mean("search"),
                "ratio_reuse_fused": clock.mean("fused") / clock.mean("search"),
                "ratio_simple": head["simple"] / head["fresh"],
                "seconds": {name: clock.mean(name) for name in clock.seconds},
                "counted": sizes,
                "mean_depth": {
                    "search": statistics.fmean(c.architecture.depth for c in found),
                    "sample": statistics.fmean(
                        found[int((index + 0.5) * step)].architecture.depth for index in range(options.sample)
                    ),
                },
                "device": options.device,
                "threads": torch.get_num_threads(),
                "seed": options.seed,
            }
        )
    )


if __name__ == "__main__":
    main()
