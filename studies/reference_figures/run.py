"""Compute the figures that are known of published tables anew; write results.json, verdicts.csv and a figure beside the plan.

    python studies/reference_figures/run.py DIR

DIR holds the two .csv.gz files that the plan names. The last line is all figures as one JSON object.
"""

import argparse
import json
import os
import platform
import subprocess
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

from autost_optuna import read_table, validate
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.validity import draw_validity, validity_view
from autost_optuna.units import csv_text

HERE = Path(__file__).parent


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def front_size(accuracies, flops):
    """How many networks none other beats in more accuracy at no more FLOPs."""
    best, members = float("-inf"), 0
    for _, accuracy in sorted(zip(flops, accuracies, strict=True), key=lambda point: (point[0], -point[1])):
        if accuracy > best:
            best, members = accuracy, members + 1
    return members


def of_nas_bench_201(plan, folder, chosen):
    """The verdicts and the known figures of each data set."""
    for data, known in plan["spearman"].items():
        table = read_table(folder / plan["file"], {"dataset": data})
        whole = table.finite(plan["proxies"])
        evidence = whole.evidence(targets=[plan["target"]], proxies=plan["proxies"])
        found = validate(evidence, **chosen)
        figures = {verdict.name: verdict.spearman.value for verdict in found.proxies}
        compared = {f"Spearman of {name}": (value, figures[name]) for name, value in known.items()}
        yield f"NAS-Bench-201, {data}", len(table.rows) - len(whole.rows), evidence, found, compared


def of_nas_bench_macro(plan, folder, chosen):
    """The same of NAS-Bench-Macro, with its seeds."""
    evidence = read_table(folder / plan["file"]).evidence(targets=plan["targets"], proxies=plan["proxies"])
    found, known = validate(evidence, **chosen), plan["known"]
    flops = next(verdict for verdict in found.proxies if verdict.name == "flops")
    compared = {
        "Spearman of flops": (known["spearman"], flops.spearman.value),
        "Kendall of flops": (known["kendall"], flops.kendall.value),
        "Spearman of flops within the top tenth": (known["top_tenth_spearman"], flops.top_tenth.spearman.value),
        "Kendall of a seed with another": (known["seeds_kendall"], found.ceiling.kendall.value),
        "the same within the top tenth": (known["seeds_top_tenth_kendall"], found.ceiling.top_tenth.kendall.value),
        "front of accuracy and FLOPs": (known["front"], front_size(evidence.means, evidence.proxies["flops"])),
    }
    return "NAS-Bench-Macro, CIFAR-10", 0, evidence, found, compared


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args().folder
    plan, start = tomllib.loads((HERE / "plan.toml").read_text()), time.perf_counter()
    chosen = {"samples": plan["samples"], "seed": plan["seed"]}
    results = {
        "plan": plan,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes_to_code": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
        ),
        "compared": [],
        "tables": [],
    }
    rows = []
    parts = [
        *of_nas_bench_201(plan["nas_bench_201"], folder, chosen),
        of_nas_bench_macro(plan["nas_bench_macro"], folder, chosen),
    ]
    for title, left_out, evidence, found, compared in parts:
        for verdict in found.proxies:
            row = {name: round(v, 4) if isinstance(v, float) else v for name, v in verdict.row().items()}
            rows.append({"table": title, **row})
        results["tables"].append(
            {
                "table": title,
                "networks": found.architectures,
                "rows_left_out": left_out,
                "sentences": [verdict.sentence for verdict in found.proxies],
                "warnings": [said for verdict in found.proxies for said in verdict.warnings],
                "ceiling": found.ceiling and {**asdict(found.ceiling), "sentence": found.ceiling_sentence},
            }
        )
        for what, (known, value) in compared.items():
            agrees = round(value, 2) == round(known, 2)
            results["compared"].append(
                {"table": title, "figure": what, "known": known, "found": value, "agrees": agrees}
            )
        if found.ceiling:
            write_figure(draw_validity(validity_view(evidence, found)), HERE / "nas_bench_macro.png")
    results["agree"] = all(line["agrees"] for line in results["compared"])
    results["duration_s"] = round(time.perf_counter() - start, 1)
    results["machine"] = {"cores": os.cpu_count(), "processor": platform.machine(), "gpu": False}
    (HERE / "verdicts.csv").write_text(csv_text(rows))
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
