"""What became of the contestants: the table of all trainings, comparisons with each baseline, and a figure.

Differences of test accuracy are of the same seed, and their interval is Student's t over the seeds: of three seeds it has two
degrees of freedom and is wide. One seed has no interval, and decides nothing.
"""

import json
import math
import sys
from collections import Counter
from statistics import fmean, stdev

import plotly.graph_objects as go
from scipy.stats import t

from autost_optuna.plots.figure import BLUE, GREEN, INK, dress, write_figure
from autost_optuna.plots.figure import replacing as whole_file
from autost_optuna.units import csv_text

COVERED = 0.95
SYMBOLS = ("circle", "square", "diamond", "x", "triangle-up", "star")


def interval(values):
    """Mean and half the width of its interval, None of one value."""
    if len(values) < 2:
        return fmean(values), None
    return fmean(values), float(t.ppf((1 + COVERED) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def trained_rows(work):
    """The rows of what is trained, by contestant and seed."""
    chosen = json.loads((work / "contestants.json").read_text())
    order = [one["name"] for one in chosen["contestants"].values()]
    rows = [json.loads(path.read_text()) for path in sorted((work / "rows").glob("*.json"))]
    return chosen, sorted(rows, key=lambda row: (order.index(row["contestant"]), row["seed"]))


def write_results(output, work, scale):
    """The table of what is trained by now, whole at any moment."""
    chosen, rows = trained_rows(work)
    for name, table in (("results", rows), ("contestants", contestant_rows(chosen))):
        with whole_file(output / f"{name}-{scale}.csv") as part:
            part.write_text(csv_text(table))


def contestant_rows(chosen):
    """Who stands for what, with the gap that is left; those that a space does not hold, too."""
    names = {key: one["name"] for key, one in chosen["contestants"].items()}
    columns = ("architecture", "energy_mj_gap", "params_gap", "flops_gap")
    return [
        {**{name: row[name] for name in ("baseline", "space", "role", "found")}, "contestant": names.get(row["key"])}
        | {name: row.get(name) for name in columns}
        for row in chosen["roles"]
    ]


def compared(baseline, rival):
    """A rival's trainings against a baseline's: points of test accuracy by the seeds that both have, and energy."""
    seeds = sorted(baseline.keys() & rival.keys())
    mean, half = interval([100 * (rival[s]["test_accuracy"] - baseline[s]["test_accuracy"]) for s in seeds])
    energy = fmean(rival[s]["measured_mj"] for s in seeds) / fmean(baseline[s]["measured_mj"] for s in seeds)
    verdict = "ahead" if mean > 0 else "behind"
    verdict = "one seed" if half is None else verdict if abs(mean) > half else "undecided"
    ends = {
        "low": None if half is None else round(mean - half, 3),
        "high": None if half is None else round(mean + half, 3),
    }
    return {
        "seeds": len(seeds),
        "points": round(mean, 3),
        **ends,
        "measured_mj_ratio": round(energy, 4),
        "verdict": verdict,
    }


def comparisons(chosen, by_name):
    """Every role that is filled and trained, against its baseline."""
    for row in contestant_rows(chosen):
        baseline, rival = by_name.get(row["baseline"], {}), by_name.get(row["contestant"], {})
        if baseline.keys() & rival.keys():
            yield {**row, **compared(baseline, rival)}


def sentence(row):
    """A comparison in plain words."""
    gap = {"parameters": "params_gap", "FLOPs": "flops_gap"}.get(row["role"].split()[-1], "energy_mj_gap")
    sure = "no interval" if row["low"] is None else f"95 % {row['low']:+.2f} to {row['high']:+.2f}"
    return (
        f"{row['baseline']}, {row['space']}, {row['role']} ({row[gap]:+.1%}, {row['found']}): {row['contestant']} is at "
        f"{row['points']:+.2f} points of test accuracy ({sure}, {row['seeds']} paired seeds), {row['measured_mj_ratio']:.3f} "
        f"times the measured energy: {row['verdict']}"
    )


def table(by_name):
    """All contestants as Markdown: means over their seeds, with intervals."""

    def said(values, form):
        mean, half = interval(values)
        return form.format(mean) + ("" if half is None else f" ± {form.format(half)}")

    lines = [
        "| contestant | architecture | seeds | test (%) | validation (%) | measured mJ | at init | params (M) | GFLOPs |"
    ]
    lines[0] += " stem's share of energy, init and trained | images/s |"
    lines.append("| --- " * 11 + "|")
    for name, runs in by_name.items():
        rows, one = list(runs.values()), next(iter(runs.values()))
        cells = [name, one["architecture"], str(len(rows))]
        cells += [said([100 * row[f"{part}_accuracy"] for row in rows], "{:.2f}") for part in ("test", "validation")]
        cells += [said([row["measured_mj"] for row in rows], "{:.4g}"), f"{one['predicted_mj']:.4g}"]
        cells += [f"{one['params'] / 1e6:.3f}", f"{one['flops'] / 1e9:.3f}"]
        cells.append(
            ", ".join(f"{fmean(row[f'stem_share_{when}'] for row in rows):.0%}" for when in ("initial", "trained"))
        )
        cells.append(f"{fmean(row['images_per_s'] for row in rows):,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def points(name, runs, colour, symbol, text=None):
    """Contestants at (mean measured energy, mean test accuracy), with bars from the least to the largest of their seeds."""
    axes = {}
    for axis, values in (
        ("x", [[row["measured_mj"] for row in rows.values()] for rows in runs]),
        ("y", [[100 * row["test_accuracy"] for row in rows.values()] for rows in runs]),
    ):
        means = [fmean(of_seeds) for of_seeds in values]
        more = [max(of_seeds) - mean for of_seeds, mean in zip(values, means, strict=True)]
        less = [mean - min(of_seeds) for of_seeds, mean in zip(values, means, strict=True)]
        bars = {"type": "data", "symmetric": False, "array": more, "arrayminus": less, "thickness": 1, "width": 3}
        axes |= {axis: means, f"error_{axis}": bars}
    marker = {"color": colour, "symbol": symbol, "size": 11, "line": {"color": "white", "width": 1}}
    mode = "markers" if text is None else "markers+text"
    return go.Scatter(name=name, mode=mode, marker=marker, text=text, textposition="top center", **axes)


def draw(chosen, by_name):
    """Test accuracy against measured energy: baselines, and their rivals by space and role; each once, in its first role."""
    scale, drawn = chosen["scale"], {one["name"] for one in chosen["scale"]["baselines"]}
    named = [one["name"] for one in scale["baselines"] if one["name"] in by_name]
    traces = [points("by hand", [by_name[name] for name in named], INK, "cross", named)]
    roles = list(dict.fromkeys(row["role"] for row in chosen["roles"]))
    for space, colour in zip((one["name"] for one in scale["spaces"]), (BLUE, GREEN), strict=True):
        for role, symbol in zip(roles, SYMBOLS, strict=True):
            rows = [row for row in contestant_rows(chosen) if (row["space"], row["role"]) == (space, role)]
            fresh = [
                name for name in dict.fromkeys(row["contestant"] for row in rows) if name in by_name.keys() - drawn
            ]
            drawn.update(fresh)
            if fresh:
                traces.append(points(f"{space}: {role}", [by_name[name] for name in fresh], colour, symbol))
    figure = go.Figure(traces)
    dress(
        figure,
        "Networks by hand and what a search offers in their place",
        f"{scale['label']}; bars from the least to the largest seed",
    )
    figure.update_xaxes(title="energy measured on the validation set (mJ an image)")
    figure.update_yaxes(title="test accuracy (%)")
    figure.update_layout(height=720)
    return figure


def write_report(output, work, scale, plan):
    """All files of what is trained by now; the last line printed is the summary's."""
    chosen, rows = trained_rows(work)
    if not rows:
        print("nothing is trained yet", file=sys.stderr)
        return
    write_results(output, work, scale)
    by_name = {}
    for row in rows:
        by_name.setdefault(row["contestant"], {})[row["seed"]] = row
    found = list(comparisons(chosen, by_name))
    (output / f"comparisons-{scale}.csv").write_text(csv_text(found))
    try:
        write_figure(draw(chosen, by_name), output / f"headline-{scale}.svg")
    except ValueError as error:  # machines with a GPU seldom have a browser; --report elsewhere draws it
        print(f"{error}; writing a page instead", file=sys.stderr)
        write_figure(draw(chosen, by_name), output / f"headline-{scale}.html")
    summary = {
        "label": chosen["scale"]["label"],
        "trainings": len(rows),
        "planned": len(chosen["contestants"]) * len(plan["plan"]["seeds"]),
        "schedule": json.loads((work / "schedule.json").read_text()),
        "verdicts": dict(Counter(row["verdict"] for row in found)),
        "not_in_the_space": [
            f"{row['baseline']}, {row['space']}, {row['role']}" for row in chosen["roles"] if row["key"] is None
        ],
        "sentences": [sentence(row) for row in found],
        **{
            name: sorted({row[name] for row in rows})
            for name in ("epochs", "recipe_hash", "data_fingerprint", "commit", "machine", "convention")
        },
        **plan,
    }
    (output / f"summary-{scale}.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"{summary['label']}\n\n{table(by_name)}\n", *summary["sentences"], sep="\n")
    print(json.dumps({name: summary[name] for name in ("label", "trainings", "planned", "schedule", "verdicts")}))
