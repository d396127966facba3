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
from autost_optuna.plots import BLUE, GREEN, GREY, ORANGE, write_figure
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.spikes import InitialRates
from autost_optuna.study import installed_versions

HERE = Path(__file__).parent
PLAN = tomllib.loads((HERE / "plan.toml").read_text())
FIELDS = ("architecture", "images", "seeds", "draw", "seed", "energy_mj", "single_mj")


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
    """(images, seeds, draw, seed): batches of each size, seeds on the first batch of four, seeds with images, reference."""
    for images in PLAN["images"]:
        yield from ((images, 1, draw, PLAN["seed"]) for draw in range(PLAN["draws"]))
    yield from ((4, 1, 0, seed) for seed in range(PLAN["seed"] + 1, PLAN["seed"] + PLAN["seeds"]))
    yield from ((4, 1, number, PLAN["seed"] + number) for number in replicates())
    yield PLAN["reference"]["images"], PLAN["reference"]["seeds"], 0, PLAN["seed"]


def replicates():
    """Numbers of draws and seeds that nothing else uses, so that each has weights and images of its own."""
    return range(1000, 1000 + PLAN["replicates"])


def measure(root):
    path, task, chosen = HERE / "energies.csv", Task.preset(PLAN["task"]), list(architectures())
    convention, images = Convention.load(PLAN["convention"]), PLAN["images"]
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    done = {tuple(row[field] for field in FIELDS[:5]) for row in rows}
    # No image is in two batches of a size: the draws are slices of one permutation.
    pool = rate_images(task, data=PLAN["data"], root=root, count=max(images) * PLAN["draws"], seed=PLAN["seed"]).images
    others = rate_images(task, data=PLAN["data"], root=root, count=1024, seed=PLAN["seed"] + 1).images
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not rows:
            writer.writeheader()
        for count, seeds, draw, seed in conditions():
            if draw in replicates():
                batch = others[512 + 4 * (draw - 1000) :][:4]
            else:
                batch = others[: count * seeds] if seeds > 1 else pool[draw * count :][:count]
            rates = InitialRates(task, batch, seed=seed, seeds=seeds)
            for architecture in chosen:
                key = (architecture.to_text(), str(count), str(seeds), str(draw), str(seed))
                if key not in done:
                    candidate = evaluate(architecture, rates, convention=convention)
                    single = " ".join(f"{value:.6g}" for row in candidate.energies_mj for value in row)
                    row = dict(zip(FIELDS, (*key, candidate.energy_mj, single), strict=True))
                    writer.writerow(row)
                    rows.append({field: str(value) for field, value in row.items()})
            file.flush()
            print(f"{count} images, {seeds} seeds, draw {draw}, seed {seed}", flush=True)
    return rows


def pairs(values):
    return [(a, b) for index, a in enumerate(values) for b in values[index + 1 :]]


def deviation(values):
    return stdev(values) / fmean(values)


def deviations(columns):
    """Of networks, and of the ratios of two, in repetitions: `columns` hold a network's energies each."""
    ratios = [[a / b for a, b in zip(one, two, strict=True)] for one, two in pairs(columns)]
    return {
        "deviation": fmean(deviation(column) for column in columns),
        "deviation_of_ratios": fmean(deviation(ratio) for ratio in ratios),
    }


def claimed(batches):
    """The same as batches say of themselves, from their single images: `batches` hold images of networks each."""
    count = len(batches[0][0])
    found = []
    for networks in batches:
        relative = [[value / fmean(images) for value in images] for images in networks]
        gaps = [stdev(a - b for a, b in zip(one, two, strict=True)) for one, two in pairs(relative)]
        found.append((fmean(stdev(images) for images in relative), fmean(gaps)))
    single, ratio = (fmean(column) / count**0.5 for column in zip(*found, strict=True))
    return {"claimed_deviation": single, "claimed_deviation_of_ratios": ratio}


def summarise(rows):
    names, seed = list(dict.fromkeys(row["architecture"] for row in rows)), PLAN["seed"]
    energies, single = {}, {}
    for row in rows:
        key = (row["architecture"], *(int(row[field]) for field in FIELDS[1:5]))
        energies[key] = float(row["energy_mj"])
        single[key] = [float(value) for value in row["single_mj"].split()]
    reference = PLAN["reference"]
    truth = [energies[name, reference["images"], reference["seeds"], 0, seed] for name in names]

    def describe(samples):
        """`samples` hold the energies of all architectures each."""
        columns = list(zip(*samples, strict=True))
        taus = [kendalltau(sample, truth).statistic for sample in samples]
        bias = fmean(fmean(column) / real - 1 for column, real in zip(columns, truth, strict=True))
        return {
            "repetitions": len(samples),
            **deviations(columns),
            "bias": bias,
            "kendall_mean": fmean(taus),
            "kendall_least": min(taus),
        }

    by_images = []
    for images in PLAN["images"]:
        draws = range(PLAN["draws"])
        line = describe([[energies[name, images, 1, draw, seed] for name in names] for draw in draws])
        if images > 1:
            line |= claimed([[single[name, images, 1, draw, seed] for name in names] for draw in draws])
        by_images.append({"images": images, **line})
    weights = describe(
        [[energies[name, 4, 1, 0, chosen] for name in names] for chosen in range(seed, seed + PLAN["seeds"])]
    )
    each = [[energies[name, 4, 1, number, seed + number] for name in names] for number in replicates()]
    by_seeds = []
    for seeds in PLAN["means_of"]:
        groups = [each[first : first + seeds] for first in range(0, len(each) - seeds + 1, seeds)]
        means = [[fmean(column) for column in zip(*group, strict=True)] for group in groups]
        by_seeds.append({"images": 4, "seeds": seeds, **describe(means)})
    return {
        "architectures": len(names),
        "by_images": by_images,
        "other_weights_same_images": {"images": 4, **weights},
        "by_seeds": by_seeds,
        "reference": reference,
    }


def draw(results):
    figure = go.Figure()
    images, seeds = results["by_images"], results["by_seeds"]

    def line(rows, field, name, **style):
        figure.add_scatter(
            x=[row["images"] * row.get("seeds", 1) for row in rows if field in row],
            y=[100 * row[field] for row in rows if field in row],
            name=name,
            mode="lines" if "dash" in style["line"] else "lines+markers",
            **style,
        )

    line(images, "deviation", "a network: one batch of so many images", line={"color": BLUE})
    line(images, "claimed_deviation", "the same, as a batch says of itself", line={"color": BLUE, "dash": "dot"})
    line(seeds, "deviation", "a network: batches of 4, each with weights of its own", line={"color": GREEN})
    line(images, "deviation_of_ratios", "ratio of two networks: one batch", line={"color": ORANGE})
    line(
        images,
        "claimed_deviation_of_ratios",
        "the same, as a batch says of itself",
        line={"color": ORANGE, "dash": "dot"},
    )
    line(seeds, "deviation_of_ratios", "ratio: batches of 4, each with weights of its own", line={"color": GREY})
    ticks, counts = [0.05, 0.1, 0.2, 0.5, 1, 2, 5], [row["images"] for row in images]
    figure.update_layout(
        template="plotly_white",
        title="Energy at initialisation: standard deviation over repetitions with other images (and weights)",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top"},
        margin={"l": 70, "r": 30, "t": 60, "b": 150},
    )
    figure.update_xaxes(type="log", title="images in all", tickvals=counts, ticktext=[str(count) for count in counts])
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
