"""Train the plan's architectures, and write what every proxy said of them before beside what became of them.

    python studies/proxy_validity/run.py --data-root DIR --scale cpu|gpu [--shard 1/4] [--workers 2]

Studies and weights are kept in --work (not committed); run again, it goes on where it stopped. When nothing is left to train,
or with --report at any time, results-SCALE.csv, verdicts-SCALE.csv, summary-SCALE.json and a figure are written beside the
plan, of what is trained by then.
"""

import argparse
import json
import os
import random
import subprocess
import tomllib
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median

import numpy as np
import optuna

from autost_optuna import Space, Task, read_table, validate
from autost_optuna.data import Sample, rate_images
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.validity import draw_validity, validity_view
from autost_optuna.front.front import nondominated
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.goals import GOALS
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.ranks import rank
from autost_optuna.search.runner import Resources, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise
from autost_optuna.training.calibration import group, measured_front
from autost_optuna.training.members import train_members
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import trainings_of
from autost_optuna.units import csv_text

HERE = Path(__file__).parent
PLAN = tomllib.loads((HERE / "plan.toml").read_text())
SHAPE = ("embed_dim", "depth")  # which take no computation: what a proxy should do better than
CHANCE = 0.1  # the accuracy of guessing among ten classes


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def commit():
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna")
    return git("rev-parse", "HEAD") + ("-dirty" if changed else "")


def genomes(space, seed):
    """The parameters of every width with every depth: ratios go round, heads are drawn."""
    draw = random.Random(seed)
    for place, width in enumerate(space.embed_dim):
        for depth in space.depth:
            ratio = space.mlp_ratio[(place + depth) % len(space.mlp_ratio)]
            blocks = range(1, depth + 1)
            yield {
                "embed_dim": width,
                "depth": depth,
                **{f"num_heads_{block:02d}": draw.choice(space.num_heads) for block in blocks},
                **{f"mlp_ratio_{block:02d}": ratio for block in blocks},
            }


def open_plan(scale, data_root, work):
    """The search whose trials are the plan's architectures."""
    space, task = Space.from_dict(scale["space"]), Task(**scale["task"])
    chosen = list(genomes(space, PLAN["seed"]))
    search = create(
        f"validity-{space.name}",
        str(work / "validity.journal"),
        Plan(
            space=space,
            task=task,
            data=PLAN["data"],
            data_root=data_root,
            images=PLAN["images"],
            convention=Convention.load(PLAN["energy"]),
            seed=PLAN["seed"],
        ),
        skip_if_exists=True,
    )
    for genome in chosen[len(search.study.trials) :]:
        search.study.enqueue_trial(genome)
    missing = len(chosen) - summarise(search).health.trials
    if missing:
        run(search, trials=missing, resources=Resources(data_root=data_root))
    return search


def plan_orders(search, recipe, folder):
    """Every architecture by the first seed, in an order that leaves a cut-off run with all sizes; then the repeats."""
    candidates = sorted(search.candidates(), key=lambda candidate: candidate.number)
    depths = len(search.settings.space.depth)
    again = {depth + depths * (depth % len(search.settings.space.embed_dim)) for depth in range(depths)}
    found = []
    for candidate in candidates:
        seeds = PLAN["seeds"] if candidate.number in sorted(again)[: PLAN["repeats"]] else 1
        found += orders(search, [candidate], recipe, seeds, folder)
    random.Random(PLAN["seed"]).shuffle(found)
    return sorted(found, key=lambda order: order.recipe.seed != recipe.seed)


def proxies_of(search, data_root, work):
    """Every proxy of every architecture, on more images than the search took; kept, for it takes minutes."""
    kept, settings = work / f"proxies-{search.study.study_name}.json", search.settings
    if kept.exists():
        return json.loads(kept.read_text())
    sample = Sample(data=settings.data, data_root=data_root, images=PLAN["proxy_images"], seed=PLAN["seed"])
    drawn = rate_images(settings.task, sample)
    rates = InitialRates(settings.task, drawn.images, seed=PLAN["seed"], patterns=True)
    found = {
        one.architecture.key: measure_scores(one.architecture, rates, drawn.labels, tuple(GOALS))
        for one in search.candidates()
    }
    kept.write_text(json.dumps(found))
    return found


def rows_of(search, recipe, proxies, commits):
    """A row a training of the plan's recipe: what it is, what it became, and what every proxy said of it before."""
    for one in trainings_of(search):
        if one.recipe_hash != recipe.hash:
            continue
        yield {
            "architecture": one.architecture.to_text(),
            "embed_dim": one.architecture.embed_dim,
            "depth": one.architecture.depth,
            "ratio": one.architecture.mlp_ratio[0],
            "seed": one.seed,
            "validation_accuracy": one.validation_accuracy,
            "test_accuracy": one.test_accuracy,
            "measured_mj": one.energy_mj,
            "predicted_mj": one.predicted_mj,
            "mean_rate": one.mean_rate,
            "epochs": one.epochs,
            **proxies[one.architecture.key],
            "recipe_hash": one.recipe_hash,
            "data_fingerprint": one.data_fingerprint,
            "commit": commits[Path(one.path).name],
            "machine": one.machine,
            "duration_s": round(one.duration_s, 1),
        }


def within_widths(rows):
    """Kendall's tau of FLOPs with the accuracy of the first seed, of all depths of one width."""
    first = min(row["seed"] for row in rows)
    alike = {}
    for row in rows:
        if row["seed"] == first:
            alike.setdefault(row["embed_dim"], []).append((row["flops"], row["validation_accuracy"]))
    found = {width: rank(*zip(*pairs, strict=True)) for width, pairs in sorted(alike.items())}
    return {width: None if ranks is None else round(ranks.kendall, 2) for width, ranks in found.items()}


def area(points, corner):
    """What points of (accuracy, energy) dominate up to the corner of chance and the most energy; energy as a logarithm."""
    best, dominated = CHANCE, 0.0
    for accuracy, energy in sorted(points, key=lambda point: (point[1], -point[0])):
        if accuracy > best:
            dominated += (accuracy - best) * float(np.log(corner / energy))
            best = accuracy
    return dominated


def of_fronts(search, recipe):
    """The front that FLOPs and energy at initialisation draw among the trained, beside that of accuracy and measured energy."""
    groups = [one for one in group(trainings_of(search)) if one.runs[0].recipe_hash == recipe.hash]
    trained = {one.architecture.key: one for one in groups}
    chosen = nondominated([one for one in search.candidates() if one.architecture.key in trained])
    points = {key: (one.validation_accuracy.mean, one.energy_mj.mean) for key, one in trained.items()}
    corner = max(energy for _, energy in points.values())
    found, best = {one.architecture.key for one in chosen}, {one.architecture.key for one in measured_front(groups)}
    whole = area(points.values(), corner)
    draw = random.Random(PLAN["seed"])
    at_random = [area(draw.sample(list(points.values()), len(found)), corner) / whole for _ in range(1000)]
    return {
        "architectures": len(points),
        "front_without_training": len(found),
        "front_after_training": len(best),
        "in_common": len(found & best),
        "hypervolume_kept": round(area([points[key] for key in found], corner) / whole, 4),
        "hypervolume_kept_by_as_many_at_random": round(fmean(at_random), 4),
        "share_of_random_choices_that_keep_less": round(
            fmean(one < area([points[key] for key in found], corner) / whole for one in at_random), 3
        ),
    }


def report(search, recipe, scale, data_root, work):
    """All results of what is trained by now."""
    commits = {path.name: path.read_text() for path in (work / "commits").iterdir()}
    rows = list(rows_of(search, recipe, proxies_of(search, data_root, work), commits))
    path = HERE / f"results-{scale}.csv"
    path.write_text(csv_text(sorted(rows, key=lambda row: (row["embed_dim"], row["depth"], row["seed"]))))
    table = read_table(path)
    names = list(next(iter(proxies_of(search, data_root, work).values())))
    of_accuracy = table.evidence(
        targets=["validation_accuracy"], proxies=[*names, *SHAPE], params="params", group="architecture", lower=False
    )
    of_energy = table.evidence(
        targets=["measured_mj"], proxies=["predicted_mj", "total_spikes"], params=None, group="architecture", lower=True
    )
    found, energy = validate(of_accuracy), validate(of_energy)
    verdicts = []
    for target, verdict in [(of.target, verdict) for of in (found, energy) for verdict in of.proxies]:
        row = {name: round(v, 4) if isinstance(v, float) else v for name, v in verdict.row().items()}
        verdicts.append({"target": target, **row, "sentence": verdict.sentence})
    (HERE / f"verdicts-{scale}.csv").write_text(csv_text(verdicts))
    write_figure(draw_validity(validity_view(of_accuracy, found)), HERE / f"proxies-{scale}.png")
    ratios = [row["measured_mj"] / row["predicted_mj"] for row in rows]
    summary = {
        "scale": scale,
        "trainings": len(rows),
        "accuracy": [min(of_accuracy.means), median(of_accuracy.means), max(of_accuracy.means)],
        "verdicts": {one.name: one.kendall.text for one in found.proxies},
        "ceiling": found.ceiling and asdict(found.ceiling),
        "warnings": [*found.warnings, *(line for one in found.proxies for line in one.warnings)],
        "flops_within_a_width": within_widths(rows),
        "energy": {one.name: one.kendall.text for one in energy.proxies},
        "measured_over_predicted": [min(ratios), median(ratios), max(ratios)],
        "fronts": of_fronts(search, recipe),
        "plan": PLAN,
        "recipe_hash": recipe.hash,
        "versions": search.settings.versions,
        "cores": os.cpu_count(),
    }
    (HERE / f"summary-{scale}.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(
        json.dumps(
            {name: summary[name] for name in ("trainings", "verdicts", "flops_within_a_width", "energy", "fronts")}
        )
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--scale", choices=["cpu", "gpu"], required=True)
    parser.add_argument("--work", type=Path, default=HERE, help="folder of the journal and the weights")
    parser.add_argument("--shard", default="1/1", help="which of how many parts, such as 1/4")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing, report what there is")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scale, (shard, of) = PLAN[options.scale], map(int, options.shard.split("/"))
    options.work.mkdir(parents=True, exist_ok=True)
    search, recipe = open_plan(scale, options.data_root, options.work), Recipe.from_dict(scale["recipe"])
    if not options.report:
        todo = plan_orders(search, recipe, options.work / "trained")[shard - 1 :: of]
        kept, here = options.work / "commits", commit()
        kept.mkdir(exist_ok=True)

        def tell(message):
            if message.kind in ("trained", "failed"):
                order = todo[message.index]
                accuracy = message.training and message.training.validation_accuracy
                print(message.kind, order.candidate.number, order.recipe.seed, accuracy or message.text, flush=True)
            if message.kind == "epoch":  # before its result is stored, so that none is without
                (kept / todo[message.index].folder.name).write_text(here)

        means = Means(data=PLAN["data"], data_root=options.data_root, workers=options.workers)
        train_members(search, todo, means, tell=tell)
    if options.report or shard == of:
        report(search, recipe, options.scale, options.data_root, options.work)


if __name__ == "__main__":
    main()
