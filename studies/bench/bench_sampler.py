"""Compare samplers at equal evaluations on two problems whose exact front is known, and time them.

    python studies/bench/bench_sampler.py > /dev/stdout        (pip install pymoo; about 25 minutes on 2 cores)

Prints progress on stderr and one JSON object as its last line: normalised hypervolumes a seed, repeats, seconds of CPU
time of 20,000 trials in memory, and how many points four processes with one seed share.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import ElementwiseProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize
from toys import PerBlock, SixGenes, hypervolume

from autost_optuna.search.genes import choices_of
from autost_optuna.search.sampler import DeclaredNSGAIISampler

PROBLEMS = {"six_genes": SixGenes, "per_block": PerBlock}
POPULATION = 50
SAMPLERS = {
    "ours": lambda problem, seed: DeclaredNSGAIISampler(
        problem.space, active=problem.active, population_size=POPULATION, seed=seed
    ),
    "stock_nsgaii": lambda problem, seed: optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed),
    "tpe": lambda problem, seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda problem, seed: optuna.samplers.RandomSampler(seed=seed),
}


def search(problem, sampler, trials, storage=None):
    """Evaluate `trials` points: their values, their parameters, and the seconds of CPU time it took."""
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=sampler, storage=storage, study_name="s", load_if_exists=True
    )
    start = time.process_time()
    study.optimize(lambda trial: problem.values(problem.suggest(trial)), n_trials=trials)
    duration_s = time.process_time() - start
    found = study.get_trials(deepcopy=False)
    return [t.values for t in found], [tuple(sorted(t.params.items())) for t in found], duration_s


def search_pymoo(problem, seed, trials):
    """The same by pymoo's NSGA-II over places in the choices of every gene, expressed or not."""
    names = list(problem.space)
    choices = [choices_of(name, problem.space[name]) for name in names]
    values, points = [], []

    class Places(ElementwiseProblem):
        def __init__(self):
            super().__init__(
                n_var=len(names), n_obj=2, xl=0, xu=np.array([len(values) - 1 for values in choices]), vtype=int
            )

        def _evaluate(self, places, out, *arguments, **more):
            point = {name: values[int(place)] for name, values, place in zip(names, choices, places, strict=True)}
            asked = names if problem.active is None else problem.active(point)
            values.append(problem.values(point))
            points.append(tuple(sorted((name, point[name]) for name in asked)))
            out["F"] = [-values[-1][0], values[-1][1]]

    rounding = RoundingRepair()
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=rounding),
        mutation=PM(vtype=float, repair=rounding),
        eliminate_duplicates=True,
    )
    start = time.process_time()
    minimize(Places(), algorithm, ("n_eval", trials), seed=seed + 1, verbose=False)
    return values[:trials], points[:trials], time.process_time() - start


def measure(job):
    """One seed of one sampler on one problem."""
    problem_name, sampler, seed, trials, checkpoints = job
    quiet()
    problem = PROBLEMS[problem_name]()
    if sampler == "pymoo_nsga2":
        values, points, duration_s = search_pymoo(problem, seed, trials)
    else:
        values, points, duration_s = search(problem, SAMPLERS[sampler](problem, seed), trials)
    shares = {str(count): hypervolume(values[:count], problem.front) for count in checkpoints if count <= len(values)}
    print(problem_name, sampler, seed, shares, f"{duration_s:.1f} s", file=sys.stderr, flush=True)
    return {"shares": shares, "repeats": len(points) - len(set(points)), "cpu_s": duration_s}


def worker(path, trials):
    """A process that shares a study and its seed with others."""
    quiet()
    problem = SixGenes()
    journal = optuna.storages.journal.JournalFileBackend(path)
    search(problem, SAMPLERS["ours"](problem, 0), trials, optuna.storages.JournalStorage(journal))


def share_of_workers(count, trials):
    """The share of distinct points of `count` processes with one seed."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s.journal")
        processes = [multiprocessing.Process(target=worker, args=(path, trials)) for _ in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
        found = optuna.load_study(study_name="s", storage=storage).trials
    return len({tuple(sorted(t.params.items())) for t in found}) / (count * trials)


def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20_000, help="of the timed search")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to try the command")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    quiet()
    jobs = []
    plan = {"six_genes": (1000, [100, 500, 1000]), "per_block": (5000, [500, 1000, 5000])}
    for name, (trials, checkpoints) in plan.items():
        for sampler in (*SAMPLERS, "pymoo_nsga2"):
            most = 1000 if sampler == "tpe" else trials  # at 5,000 TPE takes most of an hour a seed
            points = [count // part for count in checkpoints]
            jobs += [(name, sampler, seed, most // part, points) for seed in range(options.seeds)]
    with multiprocessing.Pool(2) as pool:
        found = pool.map(measure, jobs, chunksize=1)
    results = {}
    for (name, sampler, *_), run in zip(jobs, found, strict=True):
        results.setdefault(name, {}).setdefault(sampler, []).append(run)
    summary = {
        name: {
            sampler: {
                "hypervolume": {
                    count: {"mean": statistics.fmean(shares), "least": min(shares)}
                    for count in runs[0]["shares"]
                    for shares in [[run["shares"][count] for run in runs]]
                },
                "repeats": [run["repeats"] for run in runs],
                "cpu_s": statistics.fmean(run["cpu_s"] for run in runs),
            }
            for sampler, runs in by_sampler.items()
        }
        for name, by_sampler in results.items()
    }
    seconds = {}
    for sampler in ("ours", "stock_nsgaii"):
        problem = SixGenes()
        *_, seconds[sampler] = search(problem, SAMPLERS[sampler](problem, 0), options.trials // part)
        print(sampler, f"{options.trials // part:,} trials in memory", f"{seconds[sampler]:.1f} s", file=sys.stderr)
    print(
        json.dumps(
            {
                "seeds": options.seeds,
                "population": POPULATION,
                "problems": summary,
                "timed_trials": options.trials // part,
                "cpu_s": seconds,
                "ratio": seconds["stock_nsgaii"] / seconds["ours"],
                "distinct_of_four_workers": share_of_workers(4, 200 // part),
                "optuna": optuna.__version__,
                "cores": os.cpu_count(),
                "processor": platform.machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
