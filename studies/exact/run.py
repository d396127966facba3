"""Run the plan beside this file and write results.json and a CSV of each exact front beside it.

    python studies/exact/run.py --data-root DIR

Studies are kept in exact.journal beside the plan (not committed); run again, it goes on where it stopped.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import time
import tomllib
from pathlib import Path
from statistics import fmean, stdev

import optuna
import torch

from autost_optuna import Architecture, Space, Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.exact import class_of, representatives
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, find_exact
from autost_optuna.search.summary import reached, summarise
from autost_optuna.units import csv_text

HERE = Path(__file__).parent


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def orders(objective, count, seed):
    """Energies of the same blocks in other orders and with other heads, relative to the representative of their class."""
    generator = random.Random(seed)
    space = objective.space
    chosen = {class_of(architecture): architecture for architecture in representatives(space)}
    found = {}
    for _ in range(count):
        dim, depth = generator.choice(space.embed_dim), generator.choice(space.depth)
        ratios = sorted(generator.choices(space.mlp_ratio, k=depth))
        variants = {
            f"{order}, {heads} heads": ([heads] * depth, blocks)
            for heads in space.num_heads
            for order, blocks in (("narrow first", ratios), ("wide first", ratios[::-1]))
        }
        shuffled = generator.sample(ratios, k=depth)
        variants["shuffled, heads drawn"] = (generator.choices(space.num_heads, k=depth), shuffled)
        for name, (heads, blocks) in variants.items():
            other = Architecture(embed_dim=dim, depth=depth, num_heads=tuple(heads), mlp_ratio=tuple(blocks))
            base = objective.evaluate(chosen[class_of(other)])
            found.setdefault(name, []).append(objective.evaluate(other).energy_mj / base.energy_mj - 1)
    return {
        name: {"mean": fmean(values), "std": stdev(values), "low": min(values), "high": max(values)}
        for name, values in found.items()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    storage = str(HERE / "exact.journal")

    def study(name, space, seed):
        return create(
            name,
            storage,
            Plan(
                space=Space.load(space),
                task=Task.preset(plan["task"]),
                data=plan["data"],
                data_root=options.data_root,
                images=plan["images"],
                convention=Convention.load(plan["energy"]),
                seed=seed,
            ),
            skip_if_exists=True,
        )

    results = {
        "plan": plan,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "spaces": {},
    }
    for name in plan["spaces"]:
        search = study(name, name, plan["seed"])
        exact = find_exact(search)
        rows = [
            {"architecture": m.architecture.to_text(), "params": m.params, "flops": m.flops, "energy_mj": m.energy_mj}
            for m in exact.members
        ]
        (HERE / f"{name}.csv").write_text(csv_text(rows))
        figures = {**exact.to_dict(), "members": len(rows)}
        results["spaces"][name] = {"architectures": search.settings.space.size, **figures}
        print(name, figures, flush=True)
    small = study("small", "small", plan["seed"])
    results["orders_in_small"] = orders(make_objective(small.settings), plan["orders"], plan["seed"])
    results["searches_of_small"] = []
    for seed in plan["search_seeds"]:  # the exact front depends on the seed's weights and images, so each has its own
        search = study(f"search-{seed}", "small", seed)
        exact = find_exact(search)
        missing, start = plan["search_trials"] - summarise(search).health.trials, time.perf_counter()
        if missing > 0:
            run(search, trials=missing)
        near, course = reached(search), search.course()
        shares = {
            str(count): course.hypervolumes[count - 1] / exact.hypervolume
            for count in (50, 100, 200, 300, 500, 825, 1000)
            if count <= len(course.hypervolumes)
        }
        row = {"seed": seed, "share": near.share, "trials_to_95": near.trials_to_95, "share_after": shares}
        row |= {"exact_s": round(exact.duration_s, 1), "search_s": round(time.perf_counter() - start, 1)}
        results["searches_of_small"].append(row)
        print(row, flush=True)
    results["versions"] = small.settings.versions
    results["machine"] = {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "gpu": False,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
