"""Search, train the knee and five picks of the front by two seeds, and write what was predicted beside what was measured.

    python studies/digits_front/run.py

The studies and weights are kept beside the plan (not committed); run again, it goes on where it stopped.
"""

import json
import os
import platform
import subprocess
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import optuna
import torch

from autost_optuna import Space, Task
from autost_optuna.cli.trained import rows
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.trained import draw_trained, trained_view
from autost_optuna.front.picks import knee, pick
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.training.calibration import calibrate
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.units import csv_text

HERE = Path(__file__).parent
NAME, TRIALS, PICKS, SEEDS = "digits_front", 500, 5, 2


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def choose(search):
    """The knee, and the five members of the front that dominate most together and are not the knee."""
    members = search.front()
    chosen = knee(members)
    return [*pick([one for one in members if one != chosen], search.settings.box, PICKS), chosen]


def main():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    recipe = Recipe.load(str(HERE / "recipe.toml"))
    search = create(
        NAME,
        str(HERE / f"{NAME}.journal"),
        Plan(
            space=Space.load(str(HERE / Path(plan["space"]).name)),
            task=Task.preset(plan["task"]),
            data=plan["data"],
            images=plan["images"],
            convention=Convention.load(plan["energy"]),
            seed=plan["seed"],
            population=plan["population"],
        ),
        skip_if_exists=True,
    )
    missing = TRIALS - summarise(search).health.trials
    if missing > 0:
        run(search, trials=missing)
    chosen = choose(search)
    start = time.perf_counter()

    def tell(message):
        if message.line is not None or message.kind in ("trained", "failed"):
            print(message.kind, message.index, message.line or message.text, flush=True)

    train_members(
        search, orders(search, chosen, recipe, SEEDS, HERE / "trained"), Means(data="digits", workers=2), tell=tell
    )
    trained = open_trained(search).all()
    found = [{"knee": row["number"] == chosen[-1].number, **row} for row in rows(search, trained)]
    flat = [{"number": row["number"], **row["architecture"], **row} for row in found]
    (HERE / "trained.csv").write_text(csv_text([{k: v for k, v in r.items() if k != "architecture"} for r in flat]))
    write_figure(draw_trained(trained_view(NAME, search.candidates(), trained)), HERE / "trained.svg")
    summary = summarise(search)
    results = {
        "plan": plan,
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "trials": summary.health.trials,
        "front_size": summary.health.front_size,
        "spearman_flops_energy": summary.health.spearman,
        "duration_of_this_run_s": round(time.perf_counter() - start, 1),
        "calibration": [asdict(one) for one in calibrate(trained, search.settings.task, search.settings.convention)],
        "runs": [
            {
                name: getattr(one, name)
                for name in (
                    "search_trial",
                    "seed",
                    "validation_accuracy",
                    "test_accuracy",
                    "predicted_mj",
                    "energy_mj",
                    "energy_std_mj",
                    "images_per_s",
                    "duration_s",
                    "machine",
                )
            }
            for one in trained
        ],
        "versions": search.settings.versions,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.machine()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({name: results[name] for name in ("commit", "trials", "front_size", "duration_of_this_run_s")}))


if __name__ == "__main__":
    main()
