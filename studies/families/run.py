"""Measure all families at four widths, search the space that holds them, and compare its front with that of studies/first.

    python studies/families/run.py --data-root DIR [--trials 1000]

Writes networks.csv, front.csv, families.svg and results.json beside the plan. The study itself is kept in families.journal
(not committed); run again, it goes on where it stopped.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import time
import tomllib
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import optuna
from plotly.subplots import make_subplots

from autost_optuna import Architecture, Space, Task, evaluate
from autost_optuna.cli.front import flat_row, front_row
from autost_optuna.data import Sample, rate_images
from autost_optuna.delivery.plots.figure import BLUE, dress, write_figure
from autost_optuna.network.families import NETWORKS
from autost_optuna.network.parts.kinds import MIXERS
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.flops import attention_share
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.runner import Resources, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.units import csv_text

HERE = Path(__file__).parent
SMALL = HERE.parent / "first" / "front.csv"
WIDTHS = (192, 288, 384, 480)  # divided by 6 and by the heads of every family
PATTERNS = ("spikformer-4-384", "spikingformer-4-384", "sdt-2-512", "qkformer-4-384", "maxformer-4-384",
            "spikingresformer-ti", "autost-4-384")  # fmt: skip
# Paul Tol's muted colours, one per family.
COLOURS = dict(
    zip(PATTERNS, ("#cc6677", "#117733", "#ddcc77", "#aa4499", "#882255", "#44aa99", "#555555"), strict=True)
)
SYMBOLS = dict(zip(PATTERNS, ("square", "diamond", "triangle-up", "cross", "x", "star", "circle"), strict=True))
TICKS = [one * 10.0**power for power in range(-2, 3) for one in (1, 2, 5)]


def at_width(name, width):
    """The published pattern of a family at another width; self-attention keeps heads of 32 dimensions where it has them."""
    architecture = NETWORKS[name].architecture
    form, old = architecture.form, architecture.embed_dim
    widths = tuple(one * width // old for one in form.widths)
    mixers = architecture.mixers
    if name in ("spikformer-4-384", "spikingformer-4-384", "autost-4-384"):
        mixers = tuple(MIXERS["ssa"](num_heads=width // 32) for _ in mixers)
    return Architecture(
        embed_dim=width,
        depth=architecture.depth,
        mixer=mixers,
        mlp_ratio=architecture.mlp_ratio,
        neuron=architecture.neuron,
        form=replace(form, widths=widths),
    )


def measured(plan, root):
    """A row for each family at each width."""
    task, convention = Task.preset(plan["task"]), Convention.load(plan["energy"])
    drawn = rate_images(task, Sample(data=plan["data"], data_root=root, images=plan["images"], seed=plan["seed"]))
    for name in PATTERNS:
        for width in WIDTHS:
            rates = InitialRates(task, drawn.images, seed=plan["seed"])
            found = evaluate(at_width(name, width), rates, convention=convention, data=plan["data"])
            row = {"family": NETWORKS[name].family, "width": width, "depth": found.architecture.depth}
            yield row | {"params": found.params, "flops": found.flops, "energy_mj": found.energy_mj,
                         "mean_rate": found.mean_rate, "architecture": found.architecture.to_text()}  # fmt: skip
            print(name, width, f"{found.energy_mj:.4f} mJ", flush=True)


def gains(wide, narrow):
    """What the wide front offers each member of the narrow one: energy at equal FLOPs, FLOPs at equal energy, as ratios."""
    cheaper, more = [], []
    for flops, energy in narrow:
        at_least = [e for f, e in wide if f >= flops]
        within = [f for f, e in wide if e <= energy]
        cheaper += [min(at_least) / energy] if at_least else []
        more += [max(within) / flops] if within else []
    dominated = sum(
        any(f >= flops and e <= energy and (f, e) != (flops, energy) for f, e in wide) for flops, energy in narrow
    )
    return {
        "members_of_small": len(narrow),
        "dominated": dominated,
        "energy_at_equal_flops": median(cheaper),
        "flops_at_equal_energy": median(more),
        "members_with_as_many_flops_in_families": len(cheaper),
        "members_with_as_little_energy_in_families": len(more),
    }


def used(members):
    """How many members of a front have each choice, and each mixer in some block."""
    counts = {"mixer": Counter()}
    for member in members:
        architecture = member.architecture
        counts["mixer"].update({part.word for part in architecture.mixers})
        form = architecture.form
        values = {name: getattr(form, name) for name in ("stem", "residual", "position", "feed_forward")}
        for name, value in (values | {"neuron": architecture.neuron.word, "stages": len(architecture.stages)}).items():
            counts.setdefault(name, Counter())[str(value)] += 1
    return {name: dict(found.most_common()) for name, found in counts.items()}


def draw(rows, members, small):
    """Energy against FLOPs, and against parameters."""
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.03)
    for column, (key, scale) in enumerate((("flops", 1e9), ("params", 1e6)), 1):
        for name, points, colour in (
            ("front of small", small, "#999999"),
            ("front of families", [(m.flops, m.params, m.energy_mj) for m in members], BLUE),
        ):
            figure.add_scatter(
                row=1, col=column, name=name, legendgroup=name, showlegend=column == 1, mode="markers",
                x=[point[column - 1] / scale for point in points], y=[point[2] for point in points],
                marker={"color": colour, "size": 5, "opacity": 0.8},
            )  # fmt: skip
        for name in PATTERNS:
            family = NETWORKS[name].family
            some = [row for row in rows if row["family"] == family]
            figure.add_scatter(
                row=1, col=column, name=family, legendgroup=family, showlegend=column == 1, mode="lines+markers",
                x=[float(row[key]) / scale for row in some], y=[float(row["energy_mj"]) for row in some],
                line={"color": COLOURS[name], "width": 1.5}, marker={"size": 9, "symbol": SYMBOLS[name]},
            )  # fmt: skip
    dress(figure, "The published families, and two fronts", "at initialisation, 4 CIFAR-10 images, horowitz-45nm-fp32")
    for column, title in enumerate(("GFLOPs per image", "M parameters"), 1):
        figure.update_xaxes(title=title, type="log", tickvals=TICKS, row=1, col=column)
    figure.update_yaxes(type="log", tickvals=TICKS)
    figure.update_yaxes(title="energy per image (mJ)", row=1, col=1)
    figure.update_layout(width=1100, height=560, legend={"orientation": "h", "y": -0.2})
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the folder that holds cifar-10-batches-py")
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan, start = tomllib.loads((HERE / "plan.toml").read_text()), time.perf_counter()
    networks = HERE / "networks.csv"
    if not networks.exists():
        networks.write_text(csv_text(list(measured(plan, options.data_root))))
    rows = list(csv.DictReader(networks.open(newline="")))
    task = Task.preset(plan["task"])
    search = create(
        "families",
        str(HERE / "families.journal"),
        Plan(
            space=Space.load(plan["space"]),
            task=task,
            data=plan["data"],
            data_root=options.data_root,
            images=plan["images"],
            convention=Convention.load(plan["energy"]),
            seed=plan["seed"],
            population=plan["population"],
        ),
        skip_if_exists=True,
    )
    missing = options.trials - len(search.study.get_trials(deepcopy=False))
    if missing > 0:
        run(search, trials=missing, resources=Resources(data_root=options.data_root))
    members, summary = search.front(), summarise(search)
    (HERE / "front.csv").write_text(csv_text([flat_row(member) for member in members]))
    small = [
        tuple(float(row[key]) for key in ("flops", "params", "energy_mj"))
        for row in csv.DictReader(SMALL.open(newline=""))
    ]
    write_figure(draw(rows, members, small), HERE / "families.svg")
    theirs = [(float(row["flops"]), float(row["energy_mj"]), f"{row['family']} {row['width']}") for row in rows]
    ours = [(member.flops, member.energy_mj) for member in members]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    results = {
        "plan": plan,
        "trials": len(search.study.get_trials(deepcopy=False)),
        "size": summary.space_size,
        "silent": summary.silent,
        "front": len(members),
        "spearman": summary.health.spearman,
        "gains": gains(ours, [(flops, energy) for flops, _, energy in small]),
        "families_dominated_by_the_front": [
            name for flops, energy, name in theirs if any(f >= flops and e <= energy for f, e in ours)
        ],
        "members_dominated_by_a_family": sum(
            any(flops >= f and energy <= e and (flops, energy) != (f, e) for flops, energy, _ in theirs)
            for f, e in ours
        ),
        "attention_share_of_the_fronts_flops": attention_share((member.architecture for member in members), task),
        "genes": used(members),
        "example": front_row(members[len(members) // 2]),
        "duration_s": time.perf_counter() - start,
        "versions": {"torch": version("torch"), "spikingjelly": version("spikingjelly"), "optuna": version("optuna")},
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "commit": commit.stdout.strip(),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({key: results[key] for key in ("front", "gains", "genes")}))


if __name__ == "__main__":
    main()
