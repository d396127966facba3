"""Audit 15 networks under all named conventions; write results.csv beside this file and print what docs/energy.md quotes.

    python studies/energy_conventions/run.py

Five architectures on three tasks, at initialisation, seed 0, 4 images of the built-in data: energy by rates and counted
exactly, the same network without spikes, break-even rates.
"""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from autost_optuna import Architecture, SpikingTransformer, Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import operations, populations
from autost_optuna.proxies.accumulates import measure_accumulates
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.quantised import compare_quantised
from autost_optuna.proxies.rates import batch_statistics, measure_rates

HERE = Path(__file__).parent
ARCHITECTURES = (
    "C=192,depth=1,heads=8,ratio=3",
    "C=192,depth=10,heads=4,ratio=5",
    "C=384,depth=1,heads=8,ratio=3",
    "C=256,depth=4,heads=8,ratio=4",
    "C=512,depth=2,heads=8,ratio=3",
)
TASKS = {"cifar10": "digits", "digits": "digits", "nmnist": "digits-saccades"}


def audit(text, task, data):
    """A row for each convention, all from the same spikes."""
    architecture, on = Architecture.from_text(text), Task.preset(task)
    ledger, layers = operations(architecture, on), populations(architecture, on)
    images, network = rate_images(on, Sample(data=data)).images, SpikingTransformer(architecture, on)
    with batch_statistics(network):
        rates = mean_by_operation(measure_rates(network, images))
        exact = mean_by_operation(measure_accumulates(network, images))
    by_rate = sum(rates[row.name] * row.total_macs for row in ledger if row.name in rates)
    for convention in CONVENTIONS.values():
        charges = estimate_energy(ledger, rates, convention, layers)
        rate_mj, exact_mj = total_mj(charges), total_mj(estimate_energy(ledger, rates, convention, layers, exact))
        yield {
            "architecture": text,
            "task": task,
            "data": data,
            "convention": convention.name,
            "mean_rate": mean_rate(charges),
            "rate_mj": rate_mj,
            "exact_mj": exact_mj,
            "excess": rate_mj / exact_mj - 1,
            "excess_accumulates": by_rate / sum(exact.values()) - 1,
            **asdict(compare_quantised(ledger, rates, convention, layers)),
        }


def main():
    rows = []
    for task, data in TASKS.items():
        for text in ARCHITECTURES:
            rows += audit(text, task, data)
            print(task, text, flush=True)
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    def span(values):
        found = [value for value in values if value is not None]
        ends = {"least": min(found), "mean": fmean(found), "most": max(found)} if found else {}
        return {**ends, "none": len(values) - len(found)}

    summary = {}
    for name in CONVENTIONS:
        of = [row for row in rows if row["convention"] == name]
        fields = ("excess", "break_even_rate", "break_even_rate_int8", "mean_rate")
        summary[name] = {field: span([row[field] for row in of]) for field in fields}
    summary["excess_accumulates"] = span([row["excess_accumulates"] for row in rows])
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
