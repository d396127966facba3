"""Halve sixteen members of a front by three seeds, then train all to the end, and write what halving saved and what it lost.

    python studies/halving/run.py

The studies and weights are kept beside the plan (not committed); run again, it goes on where it stopped. Who dropped out goes
on from its state, so the whole costs no more than to train all.
"""

import json
import math
import os
import platform
import subprocess
import time
import tomllib
from pathlib import Path
from statistics import fmean

import optuna
import torch

from autost_optuna import Space, Task
from autost_optuna.front.picks import pick
from autost_optuna.proxies.convention import Convention
from autost_optuna.ranks import rank
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.training.halving import RungStanding, rungs, survivors, train_by_halving
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.training.trainer import TrainOptions
from autost_optuna.units import csv_text

HERE = Path(__file__).parent
NAME, TRIALS, MEMBERS, SEEDS = "halving", 300, 16, 3


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


COMMIT = git("rev-parse", "HEAD")  # of the code that runs, whatever is committed meanwhile


def timed(name, phase):
    """Carry out a phase, and add what it took to what earlier runs of it took: on the clock, and of this process's CPU."""
    path = HERE / "trained" / "times.json"
    path.parent.mkdir(exist_ok=True)
    times = json.loads(path.read_text()) if path.exists() else {}
    clock, cpu = time.perf_counter(), time.process_time()
    try:
        return phase()
    finally:
        before = times.get(name, {"clock_s": 0.0, "cpu_s": 0.0, "commit": COMMIT})
        took = {"clock_s": time.perf_counter() - clock, "cpu_s": time.process_time() - cpu}
        times[name] = {**before, **{key: round(before[key] + took[key], 2) for key in took}}
        path.write_text(json.dumps(times, indent=2) + "\n")


def tell(message):
    if message.line is not None or message.kind in ("trained", "failed", "rung"):
        print(message.kind, message.index, message.line or message.text, flush=True)


def halve(rows, levels):
    """The members after the rungs `levels`, and the epochs that takes, by what is known of all."""
    left, epochs, before, last = rows, 0, 0, len(rows[0]["validation_accuracies"])
    for level in (*levels, last):
        epochs, before = epochs + (level - before) * len(left), level
        if level < last:
            places = [
                RungStanding(
                    number=r["search_trial"],
                    accuracy=r["validation_accuracies"][level - 1],
                    energy_mj=r["predicted_mj"],
                )
                for r in left
            ]
            kept = survivors(places)
            left = [row for row in left if row["search_trial"] in kept]
    return left, epochs


def judged(rows, chosen, epochs):
    """What choosing from `chosen` instead of from all `rows` costs and saves."""
    best = max(rows, key=lambda row: row["validation_accuracy"])
    found = max(chosen, key=lambda row: (row["validation_accuracy"], -row["predicted_mj"]))
    planned = len(rows) * len(best["validation_accuracies"])
    return {
        "members_left": sorted(row["search_trial"] for row in chosen),
        "epochs": epochs,
        "epochs_of_all": planned,
        "epochs_saved": round(1 - epochs / planned, 4),
        "found": found["search_trial"],
        "rank_of_found": 1 + sum(row["validation_accuracy"] > found["validation_accuracy"] for row in rows),
        "regret": best["validation_accuracy"] - found["validation_accuracy"],
        "regret_on_test": best["test_accuracy"] - found["test_accuracy"],
    }


def main():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
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
    members, means = (
        pick(search.front(), search.settings.box, MEMBERS),
        Means(data="digits", options=TrainOptions(accelerator="cpu")),
    )
    todo = {
        s: [o for o in orders(search, members, recipe, SEEDS, HERE / "trained") if o.recipe.seed == s]
        for s in range(SEEDS)
    }
    levels = rungs(MEMBERS, recipe.epochs, recipe.warmup_share)
    rows, halvings = [], []
    for seed, those in todo.items():
        left = timed(f"halving, seed {seed}", lambda those=those: train_by_halving(search, those, means, tell=tell))
        ended = timed(f"the rest, seed {seed}", lambda those=those: train_members(search, those, means, tell=tell))
        times = json.loads((HERE / "trained" / "times.json").read_text())
        halved, rest = times[f"halving, seed {seed}"], times[f"the rest, seed {seed}"]
        courses = open_trained(search).accuracies()
        own = [
            {
                "search_trial": one.search_trial,
                "seed": one.seed,
                "recipe_hash": one.recipe_hash,
                "commit": rest["commit"],
                "machine": one.machine,
                "params": one.params,
                "flops": one.flops,
                "predicted_mj": one.predicted_mj,
                "energy_mj": one.energy_mj,
                "validation_accuracy": one.validation_accuracy,
                "test_accuracy": one.test_accuracy,
                "duration_s": round(one.duration_s, 2),
                "validation_accuracies": courses[one.key],
            }
            for one in ended
        ]
        rows += own
        kept, epochs = halve(own, levels)
        assert sorted(row["search_trial"] for row in kept) == sorted(one.search_trial for one in left)
        took = {key: {"halving": halved[key], "all": round(halved[key] + rest[key], 2)} for key in ("clock_s", "cpu_s")}
        size = math.ceil(epochs / recipe.epochs)
        largest = sorted(own, key=lambda row: row["flops"])[-size:]
        final = [row["validation_accuracy"] for row in own]
        halvings.append(
            {
                "seed": seed,
                "recipe_hash": recipe.hash,
                "commit": halved["commit"],
                "machine": own[0]["machine"],
                **judged(own, kept, epochs),
                **took,
                "cpu_s_saved": round(1 - took["cpu_s"]["halving"] / took["cpu_s"]["all"], 4),
                "rung_against_final": {
                    level: rank([row["validation_accuracies"][level - 1] for row in own], final).kendall
                    for level in levels
                },
                "flops_against_final": rank([row["flops"] for row in own], final).kendall,
                "only_those_of_most_flops": judged(own, largest, size * recipe.epochs),
                "other_rungs": {
                    " ".join(map(str, other)): judged(own, *halve(own, other))
                    for other in ((1, 2, 4, 8), (2, 4, 8), (4, 8), (8,))
                },
            }
        )
    others = {
        name: {
            "epochs_saved": halvings[0]["other_rungs"][name]["epochs_saved"],
            "mean_regret": fmean(one["other_rungs"][name]["regret"] for one in halvings),
            "ranks": [one["other_rungs"][name]["rank_of_found"] for one in halvings],
        }
        for name in halvings[0]["other_rungs"]
    }
    results = {
        "plan": plan,
        "recipe": recipe.to_dict(),
        "rungs": levels,
        "members": MEMBERS,
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "mean_cpu_saved": round(fmean(one["cpu_s_saved"] for one in halvings), 4),
        "mean_regret": fmean(one["regret"] for one in halvings),
        "mean_regret_of_most_flops": fmean(one["only_those_of_most_flops"]["regret"] for one in halvings),
        "other_rungs": others,
        "halvings": halvings,
        "versions": search.settings.versions,
        "cores": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.machine()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    flat = [
        {**row, "validation_accuracies": " ".join(f"{a:.4f}" for a in row["validation_accuracies"])} for row in rows
    ]
    (HERE / "trained.csv").write_text(csv_text(flat))
    print(json.dumps({name: results[name] for name in ("rungs", "mean_cpu_saved", "mean_regret", "other_rungs")}))


if __name__ == "__main__":
    main()
