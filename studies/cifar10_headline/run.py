"""Train baselines of sizes chosen by hand, and what the search offers for each at equal energy, parameters and FLOPs.

All networks are of AutoST's form, the baselines too; none is a published network.

    python studies/cifar10_headline/run.py --data-root DIR --scale gpu --budget 25m [--shards 4] [--only choice|plan|report]

Contestants are chosen, a few batches of each are timed, epochs are fitted to the budget, and the minutes of each are printed.
Then they are trained, in an order that answers the main question first, until the time is over. Each result is written as it
comes. Run again, it goes on where it stopped, by the same epochs; those of a new budget need another --output. The state is
in trained/ there (not committed). The same command several times at once shares the work: each takes what is free and first.
"""

import argparse
import contextlib
import fcntl
import itertools
import math
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from contestants import CONVENTION, DEVICE, EQUAL, HERE, PLAN, SETTINGS, architecture_id, choose, commit, kept
from report import contestant_rows, write_report, write_results

from autost_optuna import Architecture, Task
from autost_optuna.data import load
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.chain import operations, populations
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.energy import estimate_energy, mean_rate, total_mj
from autost_optuna.proxies.rates import measure_rates
from autost_optuna.training.batches import split_training
from autost_optuna.training.evaluation import EVAL_BATCH, RATE_IMAGES
from autost_optuna.training.loop import RECALIBRATION_IMAGES
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment, Stopped
from autost_optuna.training.trainer import TrainCallbacks, train
from autost_optuna.units import counted, duration, one_line

RESERVE = 0.9  # the part of the budget that is planned; the rest is for what was estimated too low


def speed(scale, task, dataset, architecture, recipe):
    """Images a second in training, in judging and in measuring rates and energies, each from a few batches."""
    (first, last), times = scale["probe"], {}

    def on_batch(epoch, batch, batches):
        times[batch] = time.monotonic()

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Stopped):
        callbacks = TrainCallbacks(on_batch=on_batch, stopped=lambda: last in times)
        train(
            Assignment(architecture, task, dataset, replace(recipe, epochs=2)),
            Path(folder),
            convention=CONVENTION,
            callbacks=callbacks,
        )
    network = SpikingTransformer(architecture, task).to(DEVICE).eval()
    ledger, layers = operations(architecture, task), populations(architecture, task)

    def judge(images):
        with torch.no_grad():
            return network(images).argmax(1).tolist()

    def measure(images):
        return [
            total_mj(estimate_energy(ledger, rates, CONVENTION, layers)) for rates in measure_rates(network, images)
        ]

    found = {"training": (last - first) * recipe.batch_size / (times[last] - times[first])}
    for name, work, size in (("judging", judge, EVAL_BATCH), ("measuring", measure, RATE_IMAGES)):
        images = torch.rand(size, *task.input_shape, device=DEVICE)
        work(images)
        begun = time.monotonic()
        work(images)
        found[name] = size / (time.monotonic() - begun)
    return found


def tiers(chosen):
    """(contestant, seed) in the order of what matters: each tier adds to those before it.

    The first baseline and its rival of equal energy from the first space come first. What has the width and depth of the
    baseline in whose place it stands can hardly differ from it, and comes last.
    """
    seeds, more = chosen["scale"]["seeds"], chosen["scale"]["more_seeds"]
    named = {one["name"]: key for key, one in chosen["contestants"].items()}
    baselines = [named[one["name"]] for one in chosen["scale"]["baselines"] if one["name"] in named]
    filled = [row for row in chosen["roles"] if row["key"] in chosen["contestants"]]
    space, main = chosen["scale"]["spaces"][0]["name"], chosen["scale"]["baselines"][0]["name"]
    rival = [
        row["key"] for row in filled if (row["baseline"], row["space"], row["role"]) == (main, space, next(iter(EQUAL)))
    ]
    unlike = [*baselines, *(row["key"] for row in filled if not row["same_shape"])]
    before = set()
    for members, drawn in (
        ([*baselines[:1], *rival], seeds),
        (unlike, seeds[:1]),
        (unlike, seeds),
        ([*baselines[:1], *rival], more),
        (chosen["contestants"], seeds),
    ):
        fresh = [pair for pair in dict.fromkeys((key, seed) for seed in drawn for key in members) if pair not in before]
        before.update(fresh)
        yield fresh


def seconds(dataset, recipe, found):
    """What an epoch takes, and what comes after the last one."""
    trained_on, held = (len(part) for part in split_training(dataset, recipe.validation_share, recipe.images))
    epoch = trained_on / found["training"] + (held + RECALIBRATION_IMAGES + RATE_IMAGES) / found["judging"]
    return epoch, (held + len(dataset.test.labels)) / found["judging"] + held / found["measuring"]


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
    for key, cost in minutes.items():
        name = chosen["contestants"][key]["name"]
        print(f"{name:24} {cost:7.2f} min a training, {speeds[key]['training']:,.0f} images/s")
    for number, tier in enumerate(parts, 1):
        total = sum(minutes[key] for key, _ in tier) / shards
        planned = "within the budget" if number <= schedule["tiers"] else "after it, if time is left or when run again"
        print(f"tier {number}: {len(tier)} trainings of {epochs} epochs, {total:.1f} min, {planned}", flush=True)


def row_of(contestant, seed, task, recipe, trained, dataset, here):
    """A training as a row."""
    candidate, measured = Candidate.from_dict({k: v for k, v in contestant.items() if k != "name"}), trained.measured
    architecture = candidate.architecture
    ledger = operations(architecture, task), populations(architecture, task)
    parts = {}
    for when, rates in (("initial", measured.initial_rates), ("trained", measured.rates)):
        bill = estimate_energy(ledger[0], rates, CONVENTION, ledger[1])
        first, last = ([one for one in bill if one.block == place] for place in (0, architecture.depth - 1))
        parts |= {
            f"{when}_rate": mean_rate(bill),
            f"{when}_rate_of_first_block": mean_rate(first),
            f"{when}_rate_of_last_block": mean_rate(last),
            f"{when}_mj": total_mj(bill),
            f"{when}_stem_mj": total_mj([one for one in bill if one.stage == "stem"]),
        }
    return {
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
        "training_images_per_s": round(trained.images_per_s, 1),
        **parts,
        "accuracy_by_epoch": [round(line.validation_accuracy, 5) for line in trained.log],
        "loss_by_epoch": [round(line.loss, 5) for line in trained.log],
        "rate_by_epoch": [round(line.mean_rate, 5) for line in trained.log],
        "convention": measured.convention,
        "recipe_hash": recipe.hash,
        "data_fingerprint": dataset.fingerprint(),
        "commit": here,
        "machine": trained.machine,
        "duration_s": round(trained.duration_s, 1),
    }


@contextlib.contextmanager
def claimed(path):
    """Whether a job is ours while in context: no other process at work on it has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def fail(work, name, contestant, seed, error):
    """Tell and keep that a network could not be trained; it is tried again by the next run."""
    text = one_line(str(error)) or type(error).__name__
    (work / "failed").mkdir(exist_ok=True)
    (work / "failed" / f"{name}.txt").write_text(f"{contestant}, seed {seed}: {text}")
    print(f"failed: {contestant}, seed {seed}: {text}", file=sys.stderr, flush=True)


def carry_out(jobs, chosen, task, dataset, recipe, paths, ends):
    """Train what is free, one after the other, until the time is over."""
    output, work, scale = paths
    here = commit() or f"outside of a clone; chosen by {chosen['commit']}"
    for number, (key, seed) in enumerate(jobs, 1):
        contestant, own = chosen["contestants"][key], replace(recipe, seed=seed)
        name = f"{architecture_id(key)}-seed{seed}"
        result = work / "rows" / f"{name}.json"
        with claimed(work / "claims" / name) as mine:
            if not mine or result.exists():
                continue
            if time.monotonic() >= ends:
                print("the time is over; run again to go on", flush=True)
                break
            by = kept(work / "commits" / f"{name}.json", lambda: here)  # that began it
            try:
                trained = train(
                    Assignment(Architecture.from_dict(contestant["architecture"]), task, dataset, own),
                    work / name,
                    convention=CONVENTION,
                    callbacks=TrainCallbacks(stopped=lambda: time.monotonic() >= ends),
                )
            except Stopped:
                print("the time is over, the state is kept; run again to go on", flush=True)
                break
            except RuntimeError as error:  # of this network: a loss that is no number, or no memory
                fail(work, name, contestant["name"], seed, error)
                continue
            row = kept(result, lambda: row_of(contestant, seed, task, own, trained, dataset, by))  # noqa: B023 - called at once
            (work / "failed" / f"{name}.txt").unlink(missing_ok=True)
            write_results(output, work, scale)
        said = f"{row['test_accuracy']:.2%} on test, {row['measured_mj']:.4g} mJ, {duration(row['duration_s'])}"
        print(f"{number}/{len(jobs)} {contestant['name']}, seed {seed}: {said}", flush=True)


def main():
    begun = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path)
    scales = [name for name, value in PLAN.items() if isinstance(value, dict)]
    parser.add_argument("--scale", choices=scales, required=True)
    parser.add_argument("--budget", default="25m", help="time for all of it, such as 90s, 25m or 3h")
    parser.add_argument("--shards", type=int, default=1, help="how many of this command run at the same time")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the results, and of the state in trained/")
    parser.add_argument(
        "--only",
        choices=["choice", "plan", "report"],
        help="choose the contestants, plan as well, or report what there is",
    )
    options = parser.parse_args()
    given = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", options.budget)
    if not given or options.shards < 1:
        parser.error(
            f"--budget {options.budget} is a number and s, m or h, such as 25m; --shards {options.shards} at least 1"
        )
    budget_s = float(given[1]) * {"s": 1, "m": 60, "h": 3600}[given[2]]
    scale, work = PLAN[options.scale], options.output / "trained" / options.scale
    task = Task(**scale["task"])
    if options.only != "report":
        chosen = kept(work / "contestants.json", lambda: choose(scale, task, options.data_root, work))
        if (chosen["scale"], chosen["settings"]) != (scale, SETTINGS):
            raise SystemExit(f"{work} is of another plan; delete it, or choose another --output")
        if options.only == "choice":
            show_choice(chosen)
            return
        dataset, recipe = load(scale["data"], task, options.data_root), Recipe.from_dict(scale["recipe"])
        speeds = {}
        for key, one in list(chosen["contestants"].items()):
            name, built = architecture_id(key), Architecture.from_dict(one["architecture"])
            try:
                speeds[key] = kept(work / "speed" / f"{name}.json", lambda: speed(scale, task, dataset, built, recipe))  # noqa: B023 - called at once
            except RuntimeError as error:  # no memory for it: the others go on without
                fail(work, name, one["name"], "any", error)
                del chosen["contestants"][key]
        costs = {key: seconds(dataset, recipe, found) for key, found in speeds.items()}
        parts = list(tiers(chosen))
        left = RESERVE * (budget_s - (time.monotonic() - begun)) * options.shards
        asked = {"budget": options.budget, "shards": options.shards}
        schedule = kept(work / "schedule.json", lambda: fit(parts, costs, scale["epochs"], left) | asked)
        if schedule["budget"] != options.budget:
            print(f"epochs are those that budget {schedule['budget']} was fitted to; others need another --output")
        show_plan(chosen, parts, costs, speeds, schedule, options.shards)
        if options.only == "plan":
            return
        recipe = replace(recipe, epochs=schedule["epochs"])
        jobs = list(itertools.chain(*parts))
        carry_out(jobs, chosen, task, dataset, recipe, (options.output, work, options.scale), begun + budget_s)
    failures = write_report(options.output, work, options.scale)
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
