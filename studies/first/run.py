"""Run the plan beside this file and write front.csv, front.svg and results.json beside it.

    python studies/first/run.py --data-root DIR

The study itself is kept in first.journal beside the plan (not committed); run again, it goes on where it stopped.
"""

import argparse
import json
import os
import platform
import subprocess
import time
import tomllib
from pathlib import Path

import optuna
import torch

from autost_optuna import Space, Task
from autost_optuna.cli.front import flat_row, front_row
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.front import draw_front, front_view
from autost_optuna.front.picks import knee
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.runner import Resources, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.units import csv_text

HERE = Path(__file__).parent
NAME, TRIALS = "first", 1000


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    search = create(
        NAME,
        str(HERE / "first.journal"),
        Plan(
            space=Space.load(plan["space"]),
            task=Task.preset(plan["task"]),
            data=plan["data"],
            data_root=options.data_root,
            images=plan["images"],
            convention=Convention.load(plan["energy"]),
            seed=plan["seed"],
            population=plan["population"],
        ),
        skip_if_exists=True,
    )
    start = time.perf_counter()
    missing = TRIALS - summarise(search).health.trials
    if missing > 0:
        run(search, trials=missing, resources=Resources(data_root=options.data_root))
    duration_s = time.perf_counter() - start
    members, summary = search.front(), summarise(search)
    (HERE / "front.csv").write_text(csv_text([flat_row(member) for member in members]))
    write_figure(draw_front(front_view(NAME, search.candidates())), HERE / "front.svg")
    widths = {}
    for member in members:
        width = widths.setdefault(member.architecture.embed_dim, {"members": 0, "depths": [99, 0]})
        width["members"] += 1
        depths, depth = width["depths"], member.architecture.depth
        width["depths"] = [min(depths[0], depth), max(depths[1], depth)]
    results = {
        "plan": plan,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "trials": summary.health.trials,
        "trials_in_this_run": max(0, missing),
        "duration_s": round(duration_s, 1),
        "unique": summary.health.unique,
        "front_size": summary.health.front_size,
        "nondominated_share": summary.health.nondominated_share,
        "spearman": summary.health.spearman,
        "hypervolume": summary.hypervolume,
        "silent": summary.silent,
        "failed": summary.failed,
        "knee": front_row(knee(members)),
        "front_by_embed_dim": widths,
        "data_fingerprint": search.settings.fingerprint,
        "versions": search.settings.versions,
        "machine": {
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "gpu": False,
        },
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
