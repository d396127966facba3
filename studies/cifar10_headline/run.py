"""Train baselines designed by hand, and what the search offers in the place of each at equal energy, parameters and FLOPs.

    python studies/cifar10_headline/run.py --data-root DIR --scale gpu --budget 25m [--shard 1/4] [--only choice|plan|report]

Contestants are chosen, a few batches of each are timed, epochs are fitted to the budget, and the minutes of each are printed.
Then they are trained, in an order that answers the main question first, until the time is over. Each result is written as it
comes. Run again, it goes on where it stopped, by the same epochs; those of a new budget need another --output. The state is
in trained/ there (not committed); shards share it.
"""

import argparse
import contextlib
import hashlib
import itertools
import math
import re
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from contestants import CONVENTION, EQUAL, HERE, PLAN, SETTINGS, choose, commit, kept
from report import contestant_rows, write_report, write_results

from autost_optuna import Architecture, Task
from autost_optuna.batches import split_training
from autost_optuna.candidate import Candidate
from autost_optuna.data import load
from autost_optuna.proxies.energy import estimate_energy, mean_rate, total_mj
from autost_optuna.proxies.operations import operations, populations
from autost_optuna.recipe import Recipe
from autost_optuna.trainer import Stopped, train
from autost_optuna.units import counted, duration

LOOKING = 0.5  # an image that is only looked at takes at most so much of the time of one that is trained on
RESERVE = 0.9  # the part of the budget that is planned; the rest is for what was estimated too low


def architecture_id(key):
    """A short name for a folder."""
    return f"{'-'.join(key.split('-')[:2])}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def throughput(scale, task, dataset, architecture, recipe):
    """Images a second in training, from a few batches."""
    (first, last), times = scale["probe"], {}

    def on_batch(epoch, batch, batches):
        times[batch] = time.monotonic()

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Stopped):
        settings = {"on_batch": on_batch, "stopped": lambda: last in times}
        train(architecture, task, dataset, replace(recipe, epochs=2), Path(folder), convention=CONVENTION, **settings)
    return (last - first) * recipe.batch_size / (times[last] - times[first])


def tiers(chosen, seeds):
    """(contestant, seed) in the order of what matters: each tier adds to those before it."""
    baselines = {one["name"]: key for key, one in chosen["contestants"].items()}
    filled = [row for row in chosen["roles"] if row["key"]]
    main, space = (chosen["scale"][part][0]["name"] for part in ("baselines", "spaces"))
    about = [row for row in filled if row["baseline"] == main]
    own = [baselines[main], *(row["key"] for row in about if row["space"] == space)]
    rival = [row["key"] for row in about if row["space"] == space and row["role"] == next(iter(EQUAL))]
    every = list(chosen["contestants"])
    before = set()
    for members, drawn in (
        ([baselines[main], *rival], seeds),
        (own, seeds[:1]),
        (every, seeds[:1]),
        (own, seeds),
        (every, seeds),
    ):
        fresh = [pair for pair in dict.fromkeys((key, seed) for seed in drawn for key in members) if pair not in before]
        before.update(fresh)
        yield fresh


def seconds(dataset, recipe, images_per_s):
    """What an epoch takes, and what comes after the last one."""
    trained_on, held = (len(part) for part in split_training(dataset, recipe.validation_share, recipe.images))
    return (trained_on + LOOKING * held) / images_per_s, LOOKING * (held + len(dataset.test.labels)) / images_per_s


def fit(parts, costs, epochs, budget_s):
    """The epochs, and how many tiers, that fit a budget: as many tiers as leave the least number of epochs."""
    least, most = epochs
    for count in range(len(parts), 0, -1):
        each, ends = (sum(costs[key][part] for tier in parts[:count] for key, _ in tier) for part in (0, 1))
        found = math.floor((budget_s - ends) / each)
        if found >= least:
            return {"epochs": min(found, most), "tiers": count}
    needed = duration((least * each + ends) / RESERVE)
    raise SystemExit(
        f"the rest of the budget does not hold {counted(least, 'epoch')} of the first tier; leave at least {needed} for it"
    )


def show_choice(chosen):
    """Who stands for what."""
    for row in contestant_rows(chosen):
        gaps = [f"{row[f'{measure}_gap']:+.1%} {measure}" for measure in EQUAL.values() if row["contestant"]]
        who = f"{row['architecture']} at {', '.join(gaps)}" if gaps else "none"
        print(f"{row['baseline']}, {row['space']}, {row['role']}: {who} ({row['found']})")


def show_plan(chosen, parts, costs, speeds, schedule, shards):
    """The minutes of each contestant and tier, before anything starts."""
    epochs = schedule["epochs"]
    minutes = {key: (epochs * each + end) / 60 for key, (each, end) in costs.items()}
    for key, one in chosen["contestants"].items():
        print(f"{one['name']:24} {minutes[key]:7.2f} min a training, {speeds[key]:,.0f} images/s")
    for number, tier in enumerate(parts, 1):
        total = sum(minutes[key] for key, _ in tier) / shards
        planned = "within the budget" if number <= schedule["tiers"] else "after it, if time is left or when run again"
        print(f"tier {number}: {len(tier)} trainings of {epochs} epochs, {total:.1f} min, {planned}", flush=True)


def row_of(contestant, seed, task, recipe, trained, dataset, here):
    """A training as a row."""
    candidate, measured = Candidate.from_dict({k: v for k, v in contestant.items() if k != "name"}), trained.measured
    architecture = candidate.architecture
    ledger = operations(architecture, task), populations(architecture, task)
    bills = [
        estimate_energy(ledger[0], rates, CONVENTION, ledger[1]) for rates in (measured.initial_rates, measured.rates)
    ]
    stems = [total_mj([one for one in bill if one.stage == "stem"]) / total_mj(bill) for bill in bills]
    return {
        "contestant": contestant["name"],
        "architecture": architecture.to_text(),
        "embed_dim": architecture.embed_dim,
        "depth": architecture.depth,
        "seed": seed,
        "epochs": len(trained.log),
        "validation_accuracy": trained.validation_accuracy,
        "test_accuracy": trained.test_accuracy,
        "predicted_mj": candidate.energy_mj,
        "measured_mj": measured.energy_mj,
        "params": candidate.params,
        "flops": candidate.flops,
        "images_per_s": round(trained.images_per_s, 1),
        "initial_rate": mean_rate(bills[0]),
        "trained_rate": mean_rate(bills[1]),
        "stem_share_initial": round(stems[0], 4),
        "stem_share_trained": round(stems[1], 4),
        "convention": measured.convention,
        "recipe_hash": recipe.hash,
        "data_fingerprint": dataset.fingerprint(),
        "commit": here,
        "machine": trained.machine,
        "duration_s": round(trained.duration_s, 1),
    }


def carry_out(jobs, chosen, task, dataset, recipe, paths, ends):
    """Train one after the other until the time is over; how many failed."""
    failed, (output, work, name) = 0, paths
    here = commit() or f"outside of a clone; chosen by {chosen['commit']}"
    for number, (key, seed) in enumerate(jobs, 1):
        contestant, own = chosen["contestants"][key], replace(recipe, seed=seed)
        folder = work / f"{architecture_id(key)}-seed{seed}"
        result = work / "rows" / f"{folder.name}.json"
        if result.exists():
            continue
        if time.monotonic() >= ends:
            print("the time is over; run again to go on", flush=True)
            break
        architecture = Architecture.from_dict(contestant["architecture"])
        try:
            trained = train(
                architecture,
                task,
                dataset,
                own,
                folder,
                convention=CONVENTION,
                stopped=lambda: time.monotonic() >= ends,
            )
        except Stopped:
            print("the time is over, the state is kept; run again to go on", flush=True)
            break
        except RuntimeError as error:  # of this network: a loss that is no number, or no memory
            failed += 1
            print(f"failed: {contestant['name']}, seed {seed}: {error}", file=sys.stderr, flush=True)
            continue
        row = kept(result, lambda: row_of(contestant, seed, task, own, trained, dataset, here))  # noqa: B023 - called at once
        write_results(output, work, name)
        said = f"{row['test_accuracy']:.2%} on test, {row['measured_mj']:.4g} mJ, {duration(row['duration_s'])}"
        print(f"{number}/{len(jobs)} {row['contestant']}, seed {seed}: {said}", flush=True)
    return failed


def main():
    begun = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--scale", choices=["gpu", "cpu", "smoke"], required=True)
    parser.add_argument("--budget", default="25m", help="time for all of it, such as 90s, 25m or 3h")
    parser.add_argument("--shard", default="1/1", help="which of how many parts that run at the same time, such as 1/4")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the results, and of the state in trained/")
    parser.add_argument(
        "--only",
        choices=["choice", "plan", "report"],
        help="choose the contestants, plan as well, or report what there is",
    )
    options = parser.parse_args()
    given = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", options.budget)
    shard = re.fullmatch(r"(\d+)/(\d+)", options.shard)
    if not given or not shard or not 1 <= int(shard[1]) <= int(shard[2]):
        parser.error(
            f"--budget {options.budget} is a number and s, m or h, such as 25m; --shard {options.shard} such as 1/4"
        )
    budget_s, place, shards = float(given[1]) * {"s": 1, "m": 60, "h": 3600}[given[2]], int(shard[1]), int(shard[2])
    scale, work, failed = PLAN[options.scale], options.output / "trained" / options.scale, 0
    task = Task(**scale["task"])
    if options.only != "report":
        chosen = kept(work / "contestants.json", lambda: choose(scale, task, options.data_root, work))
        if (chosen["scale"], chosen["settings"]) != (scale, SETTINGS):
            raise SystemExit(f"{work} is of another plan; delete it, or choose another --output")
        if options.only == "choice":
            show_choice(chosen)
            return
        dataset, recipe = load(scale["data"], task, options.data_root), Recipe.from_dict(scale["recipe"])
        built = {key: Architecture.from_dict(one["architecture"]) for key, one in chosen["contestants"].items()}
        speeds = {}
        for key, one in built.items():
            path = work / "throughput" / f"{architecture_id(key)}.json"
            speeds[key] = kept(path, lambda: throughput(scale, task, dataset, one, recipe))  # noqa: B023 - called at once
        costs = {key: seconds(dataset, recipe, speed) for key, speed in speeds.items()}
        parts = list(tiers(chosen, PLAN["seeds"]))
        left = RESERVE * (budget_s - (time.monotonic() - begun)) * shards
        schedule = kept(work / "schedule.json", lambda: fit(parts, costs, scale["epochs"], left))
        show_plan(chosen, parts, costs, speeds, schedule, shards)
        if options.only == "plan":
            return
        jobs = list(itertools.chain(*parts))[place - 1 :: shards]
        recipe = replace(recipe, epochs=schedule["epochs"])
        paths = options.output, work, options.scale
        failed = carry_out(jobs, chosen, task, dataset, recipe, paths, begun + budget_s)
    write_report(
        options.output, work, options.scale, {"plan": PLAN, "recipe": asdict(Recipe.from_dict(scale["recipe"]))}
    )
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
