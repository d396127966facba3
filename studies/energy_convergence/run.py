"""Run the plan beside this file; write energies.csv, convergence.svg and results.json beside it.

    python studies/energy_convergence/run.py --data-root DIR

Energies are written as they come, and what is there is not measured again.
"""

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import time
import tomllib
from pathlib import Path
from statistics import fmean, stdev

import plotly.graph_objects as go
import torch
from scipy.stats import kendalltau

from autost_optuna import Architecture, Space, Task, evaluate
from autost_optuna.data import rate_images
from autost_optuna.plots import BLUE, GREEN, ORANGE, write_figure
from autost_optuna.proxies.energy import Convention
from autost_optuna.proxies.spikes import InitialRates
from autost_optuna.study import installed_versions

HERE = Path(__file__).parent
PLAN = tomllib.loads((HERE / "plan.toml").read_text())
FIELDS = ("architecture", "images", "seeds", "draw", "seed", "energy_mj", "std_over_images_mj")


def architectures():
    generator, space = random.Random(PLAN["seed"]), Space.load(PLAN["space"])
    for _ in range(PLAN["architectures"]):
        depth = generator.choice(space.depth)
        yield Architecture(
            embed_dim=generator.choice(space.embed_dim),
            depth=depth,
            num_heads=tuple(generator.choices(space.num_heads, k=depth)),
            mlp_ratio=tuple(generator.choices(space.mlp_ratio, k=depth)),
        )


def conditions():
    """(images, seeds, draw, seed): batches of each size, seeds on the first batch of four, the reference."""
    for images in PLAN["images"]:
        yield from ((images, 1, draw, PLAN["seed"]) for draw in range(PLAN["draws"]))
    yield from ((4, 1, 0, seed) for seed in range(PLAN["seed"] + 1, PLAN["seed"] + PLAN["seeds"]))
    yield PLAN["reference"]["images"], PLAN["reference"]["seeds"], 0, PLAN["seed"]


def measure(root):
    path, task, chosen = HERE / "energies.csv", Task.preset(PLAN["task"]), list(architectures())
    convention, images = Convention.load(PLAN["convention"]), PLAN["images"]
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    done = {tuple(row[field] for field in FIELDS[:5]) for row in rows}
    # No image is in two batches of a size: the draws are slices of one permutation.
    pool = rate_images(task, data=PLAN["data"], root=root, count=max(images) * PLAN["draws"], seed=PLAN["seed"]).images
    reference = rate_images(
        task, data=PLAN["data"], root=root, count=PLAN["reference"]["images"], seed=PLAN["seed"] + 1
    )
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for count, seeds, draw, seed in conditions():
            batch = reference.images if seeds > 1 else pool[draw * count : (draw + 1) * count]
            rates = InitialRates(task, batch, seed=seed, seeds=seeds)
            for architecture in chosen:
                key = (architecture.to_text(), str(count), str(seeds), str(draw), str(seed))
                if key not in done:
                    candidate = evaluate(architecture, rates, convention=convention)
                    spread = candidate.spread.std_over_images_mj
                    row = dict(zip(FIELDS, (*key, candidate.energy_mj, spread), strict=True))
                    writer.writerow(row)
                    rows.append({field: str(value) for field, value in row.items()})
            file.flush()
            print(f"{count} images, {seeds} seeds, draw {draw}, seed {seed}", flush=True)
    return rows


def pairs(rates):
    return [(a, b) for index, a in enumerate(rates) for b in rates[index + 1 :]]


def summarise(rows):
    names = list(dict.fromkeys(row["architecture"] for row in rows))
    found = {
        (row["architecture"], int(row["images"]), int(row["seeds"]), int(row["draw"]), int(row["seed"])): float(
            row["energy_mj"]
        )
        for row in rows
    }
    spread = {
        (row["architecture"], int(row["images"]), int(row["draw"])): float(row["std_over_images_mj"])
        for row in rows
        if row["std_over_images_mj"] not in ("", "None") and row["seeds"] == "1" and int(row["seed"]) == PLAN["seed"]
    }
    reference = PLAN["reference"]
    truth = [found[name, reference["images"], reference["seeds"], 0, PLAN["seed"]] for name in names]

    def describe(samples, label):
        """`samples`: for each repetition the energies of all architectures."""
        columns = list(zip(*samples, strict=True))
        ratios = [[a / b for a, b in zip(one, two, strict=True)] for one, two in pairs(columns)]
        taus = [kendalltau(sample, truth).statistic for sample in samples]
        return {
            **label,
            "repetitions": len(samples),
            "deviation": fmean(stdev(column) / fmean(column) for column in columns),
            "deviation_of_ratios": fmean(stdev(ratio) / fmean(ratio) for ratio in ratios),
            "bias": fmean(fmean(column) / real - 1 for column, real in zip(columns, truth, strict=True)),
            "kendall_mean": fmean(taus),
            "kendall_least": min(taus),
        }

    by_images = []
    for images in PLAN["images"]:
        samples = [[found[name, images, 1, draw, PLAN["seed"]] for name in names] for draw in range(PLAN["draws"])]
        line = describe(samples, {"images": images})
        if images > 1:  # what one batch says of its own error, against what the batches of that size do
            claimed = [spread[name, images, draw] / images**0.5 for name in names for draw in range(PLAN["draws"])]
            line["claimed_deviation"] = fmean(claimed) / fmean(fmean(sample) for sample in samples)
        by_images.append(line)
    seeds = range(PLAN["seed"], PLAN["seed"] + PLAN["seeds"])
    by_seed = describe(
        [[found[name, 4, 1, 0, seed] for name in names] for seed in seeds], {"images": 4, "varied": "seed"}
    )
    return {"architectures": len(names), "by_images": by_images, "by_seed": by_seed, "reference": reference}


def draw(results):
    figure = go.Figure()
    lines = results["by_images"]
    x = [line["images"] for line in lines]
    for field, name, colour in (
        ("deviation", "energy of a network, other images", BLUE),
        ("deviation_of_ratios", "ratio of two networks' energies, same images for both", ORANGE),
    ):
        figure.add_scatter(
            x=x, y=[100 * line[field] for line in lines], name=name, line_color=colour, mode="lines+markers"
        )
    claimed = [line for line in lines if "claimed_deviation" in line]
    figure.add_scatter(
        x=[line["images"] for line in claimed],
        y=[100 * line["claimed_deviation"] for line in claimed],
        name="what one batch says of its own error",
        line={"color": BLUE, "dash": "dot"},
        mode="lines",
    )
    seed = results["by_seed"]
    figure.add_scatter(
        x=[4, 4],
        y=[100 * seed["deviation"], 100 * seed["deviation_of_ratios"]],
        name="other initialisations: network, ratio",
        mode="markers",
        marker={"color": GREEN, "size": 11, "symbol": "diamond"},
    )
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    figure.update_layout(
        template="plotly_white",
        title="Energy at initialisation: deviation between batches and between seeds",
        font={"family": "system-ui, sans-serif", "size": 14},
        legend={"x": 0.01, "y": 0.01, "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
        margin={"l": 70, "r": 30, "t": 60, "b": 60},
    )
    figure.update_xaxes(type="log", title="images of a batch", tickvals=x, ticktext=[str(count) for count in x])
    figure.update_yaxes(
        type="log", title="standard deviation (%)", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks]
    )
    write_figure(figure, HERE / "convergence.svg")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    options = parser.parse_args()
    start = time.perf_counter()
    results = summarise(measure(options.data_root))
    draw(results)
    results |= {
        "duration_s": round(time.perf_counter() - start, 1),
        "seed": PLAN["seed"],
        "commit": git("rev-parse", "HEAD"),
        "versions": installed_versions(),
        "machine": {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "processor": platform.machine()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
