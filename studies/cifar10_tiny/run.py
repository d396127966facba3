"""Train a member of tiny's front for a few epochs on CIFAR-10, and draw its curve beside the family's published early epochs.

    python studies/cifar10_tiny/run.py --data-root DIR

The studies and weights are kept beside the plan (not committed); run again, it goes on where it stopped.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import tomllib
from dataclasses import asdict
from pathlib import Path

import optuna
import plotly.graph_objects as go
import torch

from autost_optuna import Space, Task
from autost_optuna.cli.front import front_row
from autost_optuna.delivery.plots.figure import BLUE, GREEN, ORANGE, dress, write_figure
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.runner import Resources, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe

HERE = Path(__file__).parent
NAME, TRIALS, WIDTH, DEPTH = "cifar10_tiny", 300, 192, 2
# Published accuracies in % after so many epochs, of the family's full recipes of 300 epochs at T = 4.
PUBLISHED = {
    "QKFormer-4-384": {1: 32, 5: 52, 10: 69, 20: 82},
    "Max-Former": {1: 35, 5: 67, 10: 74, 20: 85},
}


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def draw(curve, label):
    traces = [
        go.Scatter(
            name=name,
            x=list(points),
            y=list(points.values()),
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            marker={"size": 7},
        )
        for (name, points), colour in zip(PUBLISHED.items(), (GREEN, ORANGE), strict=True)
    ]
    traces.append(
        go.Scatter(
            name=label,
            x=[int(row["epoch"]) for row in curve],
            y=[100 * float(row["validation_accuracy"]) for row in curve],
            mode="lines+markers",
            line={"color": BLUE, "width": 2.5},
            marker={"size": 8},
        )
    )
    figure = go.Figure(traces)
    dress(figure, "CIFAR-10: the first epochs", "validation accuracy of ours; published test accuracy of the others")
    figure.update_xaxes(title="epoch", range=[0.5, 20.5], dtick=5, tick0=0)
    figure.update_yaxes(title="accuracy (%)", range=[0, 100])
    return figure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    recipe = Recipe.load(str(HERE / "recipe.toml"))
    search = create(
        NAME,
        str(HERE / f"{NAME}.journal"),
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
    missing = TRIALS - summarise(search).health.trials
    if missing > 0:
        run(search, trials=missing, resources=Resources(data_root=options.data_root))
    narrow = [m for m in search.front() if (m.architecture.embed_dim, m.architecture.depth) == (WIDTH, DEPTH)]
    member = narrow[-1]  # of these the one of most FLOPs

    def tell(message):
        if message.line is not None or message.kind in ("trained", "failed"):
            print(message.kind, message.line or message.text, flush=True)

    means = Means(data="cifar10", data_root=options.data_root)
    (trained,) = train_members(search, orders(search, [member], recipe, 1, HERE / "trained"), means, tell=tell)
    text = (Path(trained.path) / "curve.csv").read_text()
    (HERE / "curve.csv").write_text(text)
    label = f"ours: C {WIDTH}, depth {DEPTH}, {member.params / 1e6:.2f} M parameters"
    write_figure(draw(list(csv.DictReader(text.splitlines())), label), HERE / "curve.svg")
    results = {
        "plan": plan,
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "member": front_row(member),
        "trained": {
            name: value for name, value in asdict(trained).items() if name not in ("architecture", "recipe", "path")
        },
        "data_fingerprint": search.settings.fingerprint,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.machine()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    shown = ("validation_accuracy", "test_accuracy", "predicted_mj", "energy_mj", "images_per_s", "duration_s")
    print(json.dumps({name: results["trained"][name] for name in shown}))


if __name__ == "__main__":
    main()
