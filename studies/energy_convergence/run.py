"""Measure the plan beside this file into energies.csv, or report it as results.json, convergence.svg and tables.

    python studies/energy_convergence/run.py measure --data-root DIR [--device cuda]
    python studies/energy_convergence/run.py report

Energies are written as they come, and what is there is not measured again.
"""

import argparse
import csv
import json
import platform
import random
import subprocess
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
from scipy.stats import chi2, kendalltau

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import operations, populations
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.rates import batch_statistics, measure_rates
from autost_optuna.search.settings import installed_versions

HERE = Path(__file__).parent
PLAN = tomllib.loads((HERE / "plan.toml").read_text())
FIELDS = ("architecture", "images", "draw", "seed", "energy_mj", "single_mj")
FIRST_REPLICATE, FIRST_REFERENCE = 1000, 2000  # numbers of draws and seeds that nothing else uses


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
    """(seed of the weights, images, draw), by seed."""
    for images in PLAN["images"]:
        yield from ((PLAN["seed"], images, draw) for draw in range(PLAN["draws"]))
    yield from ((seed, 4, 0) for seed in range(PLAN["seed"] + 1, PLAN["seed"] + PLAN["seeds"]))
    yield from ((number, 4, number) for number in numbers("replicates"))
    yield from ((number, PLAN["reference"]["images"], number) for number in numbers("reference"))


def numbers(what):
    if what == "replicates":
        return range(FIRST_REPLICATE, FIRST_REPLICATE + PLAN["replicates"])
    return range(FIRST_REFERENCE, FIRST_REFERENCE + PLAN["reference"]["seeds"])


def measure(root, device):
    path, task, convention = HERE / "energies.csv", Task.preset(PLAN["task"]), Convention.load(PLAN["convention"])
    done = {tuple(row.values())[:4] for row in csv.DictReader(path.open())} if path.exists() else set()
    most, reference = max(PLAN["images"]), PLAN["reference"]
    # No image is in two batches of a size: the draws are slices of one permutation of the training images.
    shares = (most * PLAN["draws"], 4 * PLAN["replicates"], reference["images"] * reference["seeds"])
    sample = Sample(data=PLAN["data"], data_root=root, images=sum(shares), seed=PLAN["seed"], device=device)
    pool, own, truth = rate_images(task, sample).images.split(shares)
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else platform.machine()
    origin = {"device": name, "python": platform.python_version(), "versions": installed_versions(), "commit": commit()}
    (HERE / "measured.json").write_text(json.dumps(origin, indent=2) + "\n")
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(FIELDS)
        for architecture in architectures():
            start, built = time.perf_counter(), None
            ledger, layers = operations(architecture, task), populations(architecture, task)
            for seed, count, draw in conditions():
                key = (architecture.to_text(), str(count), str(draw), str(seed))
                if key in done:
                    continue
                if built != seed:
                    network, built = SpikingTransformer(architecture, task, seed=seed).to(device), seed
                part, place = pool, draw
                if draw >= FIRST_REFERENCE:
                    part, place = truth, draw - FIRST_REFERENCE
                elif draw >= FIRST_REPLICATE:
                    part, place = own, draw - FIRST_REPLICATE
                with batch_statistics(network):
                    rates = measure_rates(network, part[place * count : (place + 1) * count])
                single = [total_mj(estimate_energy(ledger, sample, convention, layers)) for sample in rates]
                energy_mj = total_mj(estimate_energy(ledger, mean_by_operation(rates), convention, layers))
                writer.writerow((*key, energy_mj, " ".join(f"{value:.5g}" for value in single)))
            file.flush()
            print(f"{architecture.to_text()}: {time.perf_counter() - start:.1f} s", flush=True)


def deviations(samples):
    """Mean deviation of networks, and of the ratios of two: `samples` [repetitions, networks]."""
    first, second = np.triu_indices(samples.shape[1], 1)
    ratios = samples[:, first] / samples[:, second]
    return [float((found.std(0, ddof=1) / found.mean(0)).mean()) for found in (samples, ratios)]


def interval(deviation, count):
    """95 % of a standard deviation from `count` repetitions, as if all networks moved as one: chi-squared, so wide enough."""
    low, high = ((count - 1) / chi2.ppf((0.975, 0.025), count - 1)) ** 0.5 * deviation
    return [float(low), float(high)]


def describe(samples, truth):
    """Deviations with intervals, bias, ranks."""
    single, ratios = deviations(samples)
    taus = [kendalltau(sample, truth).statistic for sample in samples]
    return {
        "repetitions": len(samples),
        "deviation": single,
        "deviation_interval": interval(single, len(samples)),
        "deviation_of_ratios": ratios,
        "deviation_of_ratios_interval": interval(ratios, len(samples)),
        "bias": float((samples.mean(0) / truth - 1).mean()),
        "kendall_mean": float(np.mean(taus)),
        "kendall_least": float(min(taus)),
    }


def claimed(single):
    """The same deviations as batches say of themselves, from their images: `single` [batches, networks, images]."""
    count = single.shape[2]
    relative = single / single.mean(2, keepdims=True)
    first, second = np.triu_indices(single.shape[1], 1)
    gaps = (relative[:, first] - relative[:, second]).std(2, ddof=1).mean()
    return {
        "claimed_deviation": float(relative.std(2, ddof=1).mean() / count**0.5),
        "claimed_deviation_of_ratios": float(gaps / count**0.5),
    }


def summarise():
    energies, single = {}, {}
    with (HERE / "energies.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["architecture"], *(int(row[field]) for field in FIELDS[1:4]))
            energies[key] = float(row["energy_mj"])
            single[key] = [float(value) for value in row["single_mj"].split()]
    names, seed, draws = [a.to_text() for a in architectures()], PLAN["seed"], range(PLAN["draws"])
    reference = PLAN["reference"]["images"]
    truth = np.mean([[energies[name, reference, n, n] for name in names] for n in numbers("reference")], axis=0)
    by_images = []
    for images in PLAN["images"]:
        line = describe(np.array([[energies[name, images, draw, seed] for name in names] for draw in draws]), truth)
        if images > 1:
            line |= claimed(np.array([[single[name, images, draw, seed] for name in names] for draw in draws]))
        by_images.append({"images": images, **line})
    weights = range(seed, seed + PLAN["seeds"])
    other = describe(np.array([[energies[name, 4, 0, chosen] for name in names] for chosen in weights]), truth)
    each = np.array([[energies[name, 4, n, n] for name in names] for n in numbers("replicates")])
    by_seeds = []
    for seeds in PLAN["means_of"]:
        means = each.reshape(-1, seeds, len(names)).mean(1)
        by_seeds.append({"images": 4, "seeds": seeds, **describe(means, truth)})
    return {
        "architectures": len(names),
        "by_images": by_images,
        "other_weights_same_images": {"images": 4, **other},
        "by_seeds": by_seeds,
        "reference": PLAN["reference"],
    }


def draw(results):
    import plotly.graph_objects as go

    from autost_optuna.delivery.plots.figure import BLUE, GREEN, GREY, ORANGE, write_figure

    figure = go.Figure()
    images, seeds = results["by_images"], results["by_seeds"]

    def line(rows, field, name, colour):
        rows = [row for row in rows if field in row]
        y = [100 * row[field] for row in rows]
        ends = [row.get(f"{field}_interval") for row in rows]
        figure.add_scatter(
            x=[row["images"] * row.get("seeds", 1) for row in rows],
            y=y,
            name=name,
            mode="lines+markers" if ends[0] else "lines",
            line={"color": colour, "dash": "solid" if ends[0] else "dot"},
            error_y={
                "array": [100 * end[1] - value for end, value in zip(ends, y, strict=True)],
                "arrayminus": [value - 100 * end[0] for end, value in zip(ends, y, strict=True)],
                "thickness": 1,
            }
            if ends[0]
            else None,
        )

    line(images, "deviation", "a network: one batch of so many images", BLUE)
    line(images, "claimed_deviation", "the same, as a batch says of itself", BLUE)
    line(seeds, "deviation", "a network: batches of 4, each with weights of its own", GREEN)
    line(images, "deviation_of_ratios", "ratio of two networks: one batch", ORANGE)
    line(images, "claimed_deviation_of_ratios", "the same, as a batch says of itself", ORANGE)
    line(seeds, "deviation_of_ratios", "ratio: batches of 4, each with weights of its own", GREY)
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


def tables(results):
    def share(row, field):
        low, high = (100 * end for end in row[f"{field}_interval"])
        return f"{100 * row[field]:.2f} % ({low:.2f} to {high:.2f})"

    def said(row, field):
        return f"{100 * row[field]:.1f} %" if field in row else ""

    for row in results["by_images"]:
        yield (
            f"| {row['images']} | {share(row, 'deviation')} | {said(row, 'claimed_deviation')} | "
            f"{share(row, 'deviation_of_ratios')} | {said(row, 'claimed_deviation_of_ratios')} | "
            f"{100 * row['bias']:+.2f} % | {row['kendall_mean']:.3f}, {row['kendall_least']:.3f} |"
        )
    for row in results["by_seeds"]:
        yield (
            f"| {row['seeds']} | {row['repetitions']} | {share(row, 'deviation')} | {share(row, 'deviation_of_ratios')} | "
            f"{row['kendall_mean']:.3f}, {row['kendall_least']:.3f} |"
        )


def commit():
    """The commit that measures, None outside of a clone."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.data_root, options.device)
        return
    results = summarise()
    draw(results)
    results |= {"seed": PLAN["seed"], "measured": json.loads((HERE / "measured.json").read_text())}
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(tables(results)))


if __name__ == "__main__":
    main()
