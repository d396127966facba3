"""What became of the contestants: the table of all trainings, comparisons with each baseline, why, and a figure.

Differences are of the same seed, and their interval is Student's t over the seeds: of three seeds it has two degrees of freedom
and is wide. One seed has no interval, and decides nothing. Only trainings of the schedule's recipe and of one data set count.
"""

import json
import math
import sys
from collections import Counter
from dataclasses import asdict, replace
from statistics import fmean, stdev

import plotly.graph_objects as go
from contestants import EQUAL, LUCK, architecture_id
from scipy.stats import t

from autost_optuna import Architecture
from autost_optuna.delivery.plots.figure import BLUE, GREEN, INK, dress, write_figure
from autost_optuna.delivery.plots.figure import replacing as whole_file
from autost_optuna.ranks import rank
from autost_optuna.training.recipe import Recipe
from autost_optuna.units import csv_text

COVERED = 0.95
SYMBOLS = ("circle", "square", "diamond", "x", "triangle-up", "star")


def interval(values):
    """Mean and half the width of its interval, None of one value."""
    if len(values) < 2:
        return fmean(values), None
    return fmean(values), float(t.ppf((1 + COVERED) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def sign(values):
    """1 or -1 where the interval of the values leaves 0 out, 0 where it does not, None of one value."""
    mean, half = interval(values)
    return None if half is None else 0 if abs(mean) <= half else int(math.copysign(1, mean))


def recipe_of(chosen, schedule):
    """The recipe by which all are trained, but for the seed."""
    return replace(Recipe.from_dict(chosen["scale"]["recipe"]), epochs=schedule["epochs"])


def trained_rows(work):
    """What was chosen, the schedule, and the rows of what is trained by it, by contestant and seed."""
    chosen, schedule = (json.loads((work / f"{name}.json").read_text()) for name in ("contestants", "schedule"))
    places = {Architecture.from_dict(one["architecture"]).to_text(): key for key, one in chosen["contestants"].items()}
    order = list(places)
    recipe, rows = recipe_of(chosen, schedule).hash, []
    for path in sorted((work / "rows").glob("*.json")):
        row = json.loads(path.read_text())
        if row["architecture"] in places and row["recipe_hash"] == recipe:
            key = places[row["architecture"]]
            found = json.loads((work / "speed" / f"{architecture_id(key)}.json").read_text())
            named = {"contestant": chosen["contestants"][key]["name"]}
            rows.append({**named, **row, "images_per_s": round(found["training"], 1)})
    if len({row["data_fingerprint"] for row in rows}) > 1:
        raise SystemExit(f"{work} holds trainings on different data; choose another --output for one of them")
    return chosen, schedule, sorted(rows, key=lambda row: (order.index(row["architecture"]), row["seed"]))


def write_results(output, work, scale):
    """The table of what is trained by now, whole at any moment."""
    chosen, _, rows = trained_rows(work)
    for name, table in (("results", rows), ("contestants", contestant_rows(chosen))):
        write(output / f"{name}-{scale}.csv", csv_text(table))


def write(path, text):
    """Replace a file by a whole one."""
    with whole_file(path) as part:
        part.write_text(text)


def contestant_rows(chosen):
    """Who stands for what, with the gap that is left; those that a space does not hold, too."""
    names = {key: one["name"] for key, one in chosen["contestants"].items()}
    columns = ("architecture", "same_shape", *(f"{measure}_gap" for measure in EQUAL.values()))
    return [
        {**{name: row[name] for name in ("baseline", "space", "role", "found")}, "contestant": names.get(row["key"])}
        | {name: row.get(name) for name in columns}
        for row in chosen["roles"]
    ]


def compared(baseline, rival):
    """A rival's trainings against a baseline's by the seeds that both have: points of test accuracy, and energy in per cent."""
    seeds = sorted(baseline.keys() & rival.keys())
    accuracy = [100 * (rival[seed]["test_accuracy"] - baseline[seed]["test_accuracy"]) for seed in seeds]
    energy = [100 * (rival[seed]["measured_mj"] / baseline[seed]["measured_mj"] - 1) for seed in seeds]
    found = {"seeds": len(seeds)}
    for name, values in (("points", accuracy), ("energy_percent", energy)):
        mean, half = interval(values)
        found |= {name: round(mean, 3)}
        found |= {f"{name}_{end}": half and round(mean + way * half, 3) for end, way in (("low", -1), ("high", 1))}
    better, dearer = sign(accuracy), sign(energy)
    if better is None:
        verdict = "one seed"
    elif better == 0:
        verdict = "undecided"
    elif better == dearer:
        verdict = "trade-off"
    else:
        verdict = "better" if better > 0 else "worse"
    return {**found, "verdict": verdict}


def comparisons(chosen, by_name):
    """Every role that is filled and trained, against its baseline."""
    for row in contestant_rows(chosen):
        baseline, rival = by_name.get(row["baseline"], {}), by_name.get(row["contestant"], {})
        if baseline.keys() & rival.keys():
            yield {**row, **compared(baseline, rival)}


def ends(row, name, form):
    """An interval in words."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "no interval" if low is None else f"95 % {low:{form}} to {high:{form}}"


def sentence(row):
    """A comparison in plain words."""
    measure = next((measure for role, measure in EQUAL.items() if row["role"].endswith(role.split()[-1])), "energy_mj")
    twin = ", of the baseline's width and depth" if row["same_shape"] else ""
    return (
        f"{row['baseline']}, {row['space']}, {row['role']} ({row[f'{measure}_gap']:+.1%}, {row['found']}{twin}): "
        f"{row['contestant']} is at {row['points']:+.2f} points of test accuracy ({ends(row, 'points', '+.2f')}) and "
        f"{row['energy_percent']:+.1f} % of measured energy ({ends(row, 'energy_percent', '+.1f')}), "
        f"{row['seeds']} paired seeds: {row['verdict']}"
    )


def counts(found):
    """Verdicts on distinct pairs: of what the search offers, of the random control, of the changes; twins apart."""
    told = {"search": {}, "search, of the baseline's width and depth": {}, "random": {}, "changes": {}}
    for row in found:
        kind = "search" if row["role"] in EQUAL else "random" if row["role"] == LUCK else "changes"
        kind += ", of the baseline's width and depth" if kind == "search" and row["same_shape"] else ""
        told[kind][row["baseline"], row["contestant"]] = row["verdict"]
    return {kind: dict(Counter(pairs.values())) for kind, pairs in told.items()}


def means(by_name):
    """What a contestant is and became, means over its seeds; energies of the stem and of the rest, in mJ."""
    for name, runs in by_name.items():
        rows, first = list(runs.values()), next(iter(runs.values()))
        mean = {
            column: fmean(row[column] for row in rows)
            for column in (
                *("test_accuracy", "measured_mj", "initial_mj", "initial_stem_mj", "trained_stem_mj"),
                *("initial_rate", "trained_rate", "trained_rate_of_first_block", "trained_rate_of_last_block"),
            )
        }
        yield {
            "contestant": name,
            **{column: first[column] for column in ("embed_dim", "depth", "flops", "params", "predicted_mj")},
            "seeds": len(rows),
            **{column: round(value, 6) for column, value in mean.items()},
            "trained_rest_mj": round(mean["measured_mj"] - mean["trained_stem_mj"], 6),
            "measured_over_predicted": round(mean["measured_mj"] / first["predicted_mj"], 4),
            "mflops_per_uj": round(first["flops"] / first["predicted_mj"] / 1e9, 3),
        }


def what_ranks(rows):
    """Kendall's tau of what is known before training with the mean test accuracy, over all contestants."""
    accuracies = [row["test_accuracy"] for row in rows]
    found = {}
    for column in ("embed_dim", "depth", "flops", "params", "predicted_mj", "mflops_per_uj"):
        ranks = rank([row[column] for row in rows], accuracies)
        found[column] = None if ranks is None else round(ranks.kendall, 2)
    return found


def table(by_name):
    """All contestants as Markdown: means over their seeds, with intervals."""

    def said(values, form):
        mean, half = interval(values)
        return form.format(mean) + ("" if half is None else f" ± {form.format(half)}")

    columns = [
        "contestant",
        "architecture",
        "seeds",
        "test (%)",
        "validation (%)",
        "measured mJ",
        "at init",
        "params (M)",
    ]
    columns += ["GFLOPs", "stem's share of energy", "images/s"]
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for name, runs in by_name.items():
        rows, one = list(runs.values()), next(iter(runs.values()))
        cells = [name, one["architecture"], str(len(rows))]
        cells += [said([100 * row[f"{part}_accuracy"] for row in rows], "{:.2f}") for part in ("test", "validation")]
        cells += [said([row["measured_mj"] for row in rows], "{:.5f}"), f"{one['predicted_mj']:.5f}"]
        cells += [f"{one['params'] / 1e6:.3f}", f"{one['flops'] / 1e9:.4f}"]
        cells.append(f"{fmean(row['trained_stem_mj'] / row['measured_mj'] for row in rows):.0%}")
        cells.append(f"{one['images_per_s']:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def of_main(chosen, found, by_name):
    """The first baseline and what the first space offers in its place, as Markdown for docs/evidence.md."""
    main, space = chosen["scale"]["baselines"][0]["name"], chosen["scale"]["spaces"][0]["name"]
    lines = [
        "| network | width, depth | test accuracy (%) | measured energy (µJ) | points of accuracy, energy against by hand |"
    ]
    lines.append("| --- " * 5 + "|")

    def cells(role, name):
        rows = list(by_name[name].values())
        accuracy, energy = (
            interval([factor * row[column] for row in rows])
            for factor, column in ((100, "test_accuracy"), (1000, "measured_mj"))
        )
        said = [f"{mean:.1f}" + ("" if half is None else f" ± {half:.1f}") for mean, half in (accuracy, energy)]
        return [role, f"{rows[0]['embed_dim']}, {rows[0]['depth']}", *said]

    lines.append(f"| {' | '.join([*cells('by hand, AutoST form', main), '-'])} |")
    for row in found:
        if (row["baseline"], row["space"]) == (main, space):
            against = f"{row['points']:+.1f} ({ends(row, 'points', '+.1f')}), {row['energy_percent']:+.1f} %: {row['verdict']}"
            lines.append(f"| {' | '.join([*cells(row['role'], row['contestant']), against])} |")
    return "\n".join(lines)


def points(name, runs, colour, symbol, text=None):
    """Contestants at (mean measured energy, mean test accuracy), with bars from the least to the largest of their seeds."""
    axes = {}
    for axis, values in (
        ("x", [[row["measured_mj"] for row in rows.values()] for rows in runs]),
        ("y", [[100 * row["test_accuracy"] for row in rows.values()] for rows in runs]),
    ):
        centres = [fmean(of_seeds) for of_seeds in values]
        more = [max(of_seeds) - centre for of_seeds, centre in zip(values, centres, strict=True)]
        less = [centre - min(of_seeds) for of_seeds, centre in zip(values, centres, strict=True)]
        bars = {"type": "data", "symmetric": False, "array": more, "arrayminus": less, "thickness": 1, "width": 3}
        axes |= {axis: centres, f"error_{axis}": bars}
    marker = {"color": colour, "symbol": symbol, "size": 11, "line": {"color": "white", "width": 1}}
    mode = "markers" if text is None else "markers+text"
    return go.Scatter(name=name, mode=mode, marker=marker, text=text, textposition="bottom right", **axes)


def draw(chosen, by_name):
    """Test accuracy against measured energy: baselines, and their rivals by space and role; each once, in its first role."""
    scale, drawn = chosen["scale"], {one["name"] for one in chosen["scale"]["baselines"]}
    named = [one["name"] for one in scale["baselines"] if one["name"] in by_name]
    traces = []
    roles = list(dict.fromkeys(row["role"] for row in chosen["roles"]))
    for space, colour in zip((one["name"] for one in scale["spaces"]), (BLUE, GREEN), strict=False):
        for role, symbol in zip(roles, SYMBOLS, strict=False):
            rows = [row for row in contestant_rows(chosen) if (row["space"], row["role"]) == (space, role)]
            fresh = [
                name for name in dict.fromkeys(row["contestant"] for row in rows) if name in by_name.keys() - drawn
            ]
            drawn.update(fresh)
            if fresh:
                traces.append(points(f"{space}: {role}", [by_name[name] for name in fresh], colour, symbol))
    traces.append(points("by hand", [by_name[name] for name in named], INK, "cross", named))  # above all others
    figure = go.Figure(traces)
    dress(
        figure,
        "Networks of AutoST's form: by hand, and what a search offers in their place",
        f"{scale['label']}; each in its first role; bars from the least to the largest seed",
    )
    figure.update_xaxes(title="energy measured on the validation set (mJ an image)")
    figure.update_yaxes(title="test accuracy (%)")
    figure.update_layout(height=720)
    return figure


def write_report(output, work, scale):
    """All files of what is trained by now, and how many failed; the last line printed is the summary's."""
    chosen, schedule, rows = trained_rows(work)
    failures = [path.read_text() for path in sorted((work / "failed").glob("*.txt"))]
    if not rows:
        print("nothing is trained yet", file=sys.stderr)
        return failures
    write_results(output, work, scale)
    by_name = {}
    for row in rows:
        by_name.setdefault(row["contestant"], {})[row["seed"]] = row
    found, told = list(comparisons(chosen, by_name)), list(means(by_name))
    write(output / f"comparisons-{scale}.csv", csv_text(found))
    write(output / f"means-{scale}.csv", csv_text(told))
    figure = output / f"headline-{scale}.svg"
    figure.unlink(missing_ok=True)
    try:
        write_figure(draw(chosen, by_name), figure)
    except ValueError as error:  # machines with a GPU seldom have a browser; --only report elsewhere draws it
        print(f"{error}; writing a page instead", file=sys.stderr)
        write_figure(draw(chosen, by_name), figure.with_suffix(".html"))
    commits = sorted({row["commit"] for row in rows})
    if len(commits) > 1:
        print(f"warning: trained by {len(commits)} commits; see column commit", file=sys.stderr)
    summary = {
        "label": chosen["scale"]["label"],
        "trainings": len(rows),
        "failures": failures,
        "schedule": schedule,
        "standings": chosen["standings"],
        "verdicts": counts(found),
        "kendall_with_test_accuracy": what_ranks(told),
        "not_in_the_space": [
            f"{row['baseline']}, {row['space']}, {row['role']}: {row['found']}"
            for row in chosen["roles"]
            if row["key"] is None
        ],
        "sentences": [sentence(row) for row in found],
        **{name: sorted({row[name] for row in rows}) for name in ("data_fingerprint", "machine", "convention")},
        "commits": {"chosen": chosen["commit"], "trained": commits},
        "recipe": asdict(recipe_of(chosen, schedule)),
        "recipe_hash": recipe_of(chosen, schedule).hash,
        "settings": chosen["settings"],
        "scale": chosen["scale"],
    }
    write(output / f"summary-{scale}.json", json.dumps(summary, indent=2) + "\n")
    print(
        f"{summary['label']}\n\n{table(by_name)}\n\n{of_main(chosen, found, by_name)}\n",
        *summary["sentences"],
        sep="\n",
    )
    print(json.dumps({name: summary[name] for name in ("label", "trainings", "failures", "schedule", "verdicts")}))
    return failures
