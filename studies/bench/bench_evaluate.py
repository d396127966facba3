"""Time how a trained network is judged against 0.1.0's way: same weights, same images, one machine.

    python studies/bench/bench_evaluate.py [--data cifar10 --data-root DIR] [--images 500] [--rounds 10] [--old 3387b0c]

The code of the commit `--old` is taken from git into a temporary folder. One process runs it, another the code of this
checkout. Each builds the same network and sets its running statistics on the same 512 images. They take turns, so that neither
runs while the other is timed. A round judges as a training of one epoch does:

    validation  accuracy on `--images` held-out images, with the mean spike rate: of the first 64 (old), of all (new)
    energy      energy on the same images: by a second pass (old), from the rates of the first pass (new)
    test        accuracy on twice as many images of the test set, as CIFAR-10 has

`ratio` is old / new of the whole round: the median over the rounds, with the lowest and the highest (at least 3 is wanted).
`seconds` has the medians of each part. `same` compares what was found: accuracies by the number of images, the energy by its
relative difference. The last line is one JSON object.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("validation", "energy", "test")


def serve(config):
    """Judge once for each line on stdin; print seconds and findings as JSON."""
    import torch

    from autost_optuna import Architecture, SpikingTransformer, Task
    from autost_optuna.data import load
    from autost_optuna.proxies.convention import DEFAULT

    # Module paths of 0.1.0 for the old code; the new code lets them lead to its own.
    warnings.simplefilter("ignore", FutureWarning)
    evaluation = importlib.import_module("autost_optuna.evaluation")
    Batches = importlib.import_module("autost_optuna.batches").Batches  # noqa: N806
    keeping_all_pages = importlib.import_module("autost_optuna.pages").keeping_all_pages

    task = Task.preset(config["task"])
    dataset = load(config["data"], task, config["data_root"] and Path(config["data_root"]))
    network = SpikingTransformer(Architecture.uniform(**config["architecture"]), task, seed=0)

    def batches(split, start, count):
        order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(0))[start : start + count]
        return Batches(split, order, dataset.normalisation, task, torch.device("cpu"))

    images = config["images"]
    evaluation.recalibrate(network, (x for x, _ in batches(dataset.train, 0, 512).in_order(64)))
    held, test = batches(dataset.train, 512, images), batches(dataset.test, 0, 2 * images)
    rates = []

    def validation():
        if not hasattr(evaluation, "judge"):
            return evaluation.evaluate(network, held), evaluation.first_mean_rate(network, held)
        found = evaluation.judge(network, held, rate_images=images)
        rates[:] = found.rates
        return found.accuracy, evaluation.mean_rate_of(network, found.rates)

    def energy():
        if not hasattr(evaluation, "judge"):
            return evaluation.measure(network, held, DEFAULT, seed=0).energy_mj
        return evaluation.measured_of(network, held, rates, DEFAULT, seed=0).energy_mj

    calls = {"validation": validation, "energy": energy, "test": lambda: evaluation.evaluate(network, test)}
    with keeping_all_pages():
        for _ in sys.stdin:
            seconds, found = {}, {}
            for name, call in calls.items():
                start = time.perf_counter()
                found[name] = call()
                seconds[name] = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "found": found}), flush=True)


def start(code, config):
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--serve", json.dumps(config)],
        cwd=code,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(code)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a process that judges has ended; its error is above")
    return json.loads(line)


def spread(values):
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", choices=("cifar10", "digits"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--old", default="3387b0c", help="a commit of this repository [3387b0c, version 0.1.0]")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(json.loads(arguments.serve))
        return
    wide = arguments.data == "cifar10"
    config = {
        "task": arguments.data,
        "data": arguments.data,
        "data_root": arguments.data_root and str(arguments.data_root.resolve()),
        "architecture": {"embed_dim": 256 if wide else 64, "depth": 2, "num_heads": 8 if wide else 4, "mlp_ratio": 4},
        "images": arguments.images,
    }
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", arguments.old, "autost_optuna"], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        codes = {"old": start(Path(folder), config), "new": start(ROOT, config)}
        rounds = []
        try:
            for number in range(arguments.rounds + 1):  # the first one finds memory, and is left out
                names = ("old", "new") if number % 2 else ("new", "old")
                told = {name: ask(codes[name]) for name in names}
                seconds = {name: told[name]["seconds"] for name in codes}
                if number:
                    rounds.append(seconds)
                print(
                    number,
                    {name: {part: round(s, 2) for part, s in seconds[name].items()} for name in codes},
                    flush=True,
                )
        finally:
            for process in codes.values():
                process.stdin.close()
                process.wait()
    found = {name: told[name]["found"] for name in codes}
    off = {part: abs(found["old"][part] - found["new"][part]) for part in ("energy", "test")}
    result = {
        **{name: value for name, value in config.items() if name != "data_root"},
        "rounds": len(rounds),
        "old_commit": arguments.old,
        "ratio": spread([sum(r["old"].values()) / sum(r["new"].values()) for r in rounds]),
        "seconds": {name: {part: statistics.median(r[name][part] for r in rounds) for part in PARTS} for name in codes},
        "same": {
            "validation_images": round(
                abs(found["old"]["validation"][0] - found["new"]["validation"][0]) * arguments.images
            ),
            "test_images": round(off["test"] * 2 * arguments.images),
            "energy": off["energy"] / found["old"]["energy"],
        },
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
