"""Run the plan beside this file and write results.json, space by space; run again, it goes on where it stopped.

python studies/tables/run.py --data-root DIR
"""

import argparse
import json
import math
import os
import platform
import random
import subprocess
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import optuna
import torch

from autost_optuna import Objective, Space, Task
from autost_optuna.front.front import hypervolume, nondominated
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.tabulate import tabulate
from autost_optuna.search.objective import measure_box
from autost_optuna.search.optimum import table_front
from autost_optuna.search.tables import check_table

HERE = Path(__file__).parent


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def one(plan, space, data, root):
    """A table's seconds and errors, and its front, for a space on the images of a data set."""
    objective = Objective(
        space,
        Task.preset(data),
        data=data,
        data_root=root,
        num_images=plan["images"],
        convention=Convention.load(plan["energy"]),
        seed=plan["seed"],
    )
    objective.evaluate(space.smallest)  # what a first measurement alone has to load
    began = time.perf_counter()
    table = tabulate(objective.rates, space, plan["seed"])
    tabled = time.perf_counter()
    members = table_front(space, table, objective.convention)
    searched = time.perf_counter()
    generator = random.Random(plan["seed"] + 1)
    measured = [objective.evaluate(space.draw(generator)) for _ in range(plan["unseen"])]
    found = {
        "architectures": space.size,
        "table_s": tabled - began,
        "front_s": searched - tabled,
        "members": len(members),
        "unseen_s": time.perf_counter() - searched,
        **asdict(check_table(table, measured, objective.convention)),
    }
    if data == "cifar10" and space.name in plan["measured_fronts"]:
        began = time.perf_counter()
        front = nondominated([objective.evaluate(member.architecture) for member in members])
        found |= {
            "members_measured": len(front),
            "measuring_s": time.perf_counter() - began,
            "hypervolume": hypervolume(front, measure_box(objective)),
        }
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"plan": plan, "spaces": {}}
    for name in plan["spaces"]:
        space = Space.load(HERE / name if name.endswith(".toml") else name)
        for data in plan["data"]:
            rows = results["spaces"].setdefault(space.name, {})
            if data not in rows:
                changed = git("status", "--porcelain", "--", "../../autost_optuna", "run.py", "plan.toml", "mixed.toml")
                rows[data] = {
                    "commit": git("rev-parse", "HEAD"),
                    "uncommitted_changes_to_code": bool(changed),
                    **one(plan, space, data, options.data_root),
                }
                print(space.name, data, rows[data])
            results |= {
                "versions": {"python": platform.python_version(), "torch": torch.__version__},
                "machine": f"{os.cpu_count()} {platform.machine()} cores, no GPU, {torch.get_num_threads()} threads",
            }
            path.write_text(json.dumps(results, indent=1) + "\n")
    assert all(math.isfinite(row["largest"]) for rows in results["spaces"].values() for row in rows.values())


if __name__ == "__main__":
    main()
