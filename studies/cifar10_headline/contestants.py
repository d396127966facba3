"""Who is compared: baselines, and for each what a space offers in its place at equal energy, parameters and FLOPs.

All are of AutoST's form of network: the baselines have the sizes of a published network, and are not that network.

All of a space's classes are measured (autost_optuna.search.exact), so the front is exact up to what the order of ratios and
heads moves an energy by. A baseline's own class is left out: to find the baseline again would compare it with itself; where it
stands in the space is said by `standing`.
"""

import contextlib
import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import torch

from autost_optuna import Architecture, Objective, Space
from autost_optuna.data import Sample, rate_images
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.front import nondominated
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.flops import count_params
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.search.exact import class_of, representatives

HERE = Path(__file__).parent
PLAN = tomllib.loads((HERE / "plan.toml").read_text())
SETTINGS = {name: value for name, value in PLAN.items() if not isinstance(value, dict)}  # those of all scales
CONVENTION = Convention.load(PLAN["energy"])
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EQUAL = {"equal energy": "energy_mj", "equal parameters": "params", "equal FLOPs": "flops"}
LUCK, DRAWS = "random at equal parameters", 100_000


def commit():
    """The commit that runs, and whether code or plan are changed; None outside of a clone."""

    def git(*arguments):
        try:
            found = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git
            return ""
        return found.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../../autost_optuna", "*.py", "plan.toml")
    return git("rev-parse", "HEAD") + ("-dirty" if changed else "") or None


def kept(path, make):
    """What `make` gave the first time, by whichever shard."""
    if not path.exists():
        made = json.dumps(make(), indent=2)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        part.write_text(made)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return json.loads(path.read_text())


def gap(one, baseline, measure):
    """How much more of a measure one has than the baseline: 0.01 is 1 % more."""
    return getattr(one, measure) / getattr(baseline, measure) - 1


def architecture_id(key):
    """A short name for files and folders."""
    return f"{'-'.join(key.split('-')[:2])}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def shape(one):
    """Width and depth."""
    return one.architecture.embed_dim, one.architecture.depth


def near(offered, baseline, measure, within):
    return [one for one in offered if abs(gap(one, baseline, measure)) <= within]


def nearest(pool, baseline, measure):
    """The member that equals the baseline in a measure, and where it stands; None where nothing is near."""
    tolerance, widest, front = PLAN["tolerance"], PLAN["widest"], nondominated(pool)
    for offered, where in (
        (near(front, baseline, measure, tolerance), "front"),
        (nondominated(near(pool, baseline, measure, tolerance)), f"front of those within {tolerance:.0%}"),
        (near(front, baseline, measure, widest), f"front, within {widest:.0%}"),
    ):
        if offered:
            return min(offered, key=lambda one: abs(gap(one, baseline, measure))), where
    return None, f"nothing within {widest:.0%}"


def by_luck(space, baseline, task, draws=DRAWS):
    """A random architecture of another class with the baseline's parameters, None where there is none, and how it was found."""
    draw = random.Random(PLAN["seed"])
    for _ in range(draws):
        depth = draw.choice(space.depth)
        one = Architecture(
            embed_dim=draw.choice(space.embed_dim),
            depth=depth,
            num_heads=tuple(draw.choices(space.num_heads, k=depth)),
            mlp_ratio=tuple(draw.choices(space.mlp_ratio, k=depth)),
        )
        other = class_of(one) != class_of(baseline.architecture)
        if other and abs(count_params(one, task) / baseline.params - 1) <= PLAN["tolerance"]:
            return one, "drawn from the whole space"
    return None, f"none in {draws:,} draws"


def by_proxy(pool, baseline, score):
    """Of some architectures of equal energy the one that another proxy ranks first, and where it was looked for.

    None takes more energy than the baseline: proxies grow with size, and would take what is over.
    """
    offered = [
        one for one in near(pool, baseline, "energy_mj", PLAN["tolerance"]) if gap(one, baseline, "energy_mj") <= 0
    ]
    few = random.Random(PLAN["seed"]).sample(offered, min(PLAN["proxy_offered"], len(offered)))
    where = f"highest of {len(few)} of the {len(offered)} classes of up to {PLAN['tolerance']:.0%} less energy"
    return max(few, key=lambda one: score(one.architecture), default=None), where


def offers(space, objective, baseline, pool, score):
    """How a space fills each role in a baseline's place: functions that give a candidate or None, and where it was found."""
    others = [one for one in pool if class_of(one.architecture) != class_of(baseline.architecture)]
    bound = f"depth at most {PLAN['max_depth']}"

    def lucky():
        found, where = by_luck(space, baseline, objective.task)
        return found and objective.evaluate(found), where

    def shallow():
        offered = [one for one in others if one.architecture.depth <= PLAN["max_depth"]]
        found, where = nearest(offered, baseline, "energy_mj")
        return found, where.replace("front", f"front of {bound}")

    return {
        **{role: partial(nearest, others, baseline, measure) for role, measure in EQUAL.items()},
        LUCK: lucky,
        f"{PLAN['proxy']} at equal energy": partial(by_proxy, others, baseline, score),
        f"{bound} at equal energy": shallow,
    }


def standing(space, baseline, pool):
    """Where a baseline stands among a space's classes: how many dominate it, and whether its own class is on the front."""
    above = sum(one.flops >= baseline.flops and one.energy_mj <= baseline.energy_mj for one in pool)
    own = [one for one in pool if class_of(one.architecture) == class_of(baseline.architecture)]
    return {
        "space": space.name,
        "classes": len(pool),
        "dominated_by": above - sum(one.energy_mj <= baseline.energy_mj for one in own),
        "own_class_is_in_the_space": bool(own),
        "own_class_is_on_the_front": any(one in nondominated(pool) for one in own),
    }


def choose(scale, task, data_root, work):
    """Baselines and, for each with each space, its rivals: what each one is, and which roles it has."""
    measured, roles, names, standings = {}, [], {}, []
    taken = {"data": scale["data"], "data_root": data_root, "seed": PLAN["seed"]}
    drawn = rate_images(task, Sample(images=PLAN["proxy_images"], device=DEVICE, **taken))
    rates = InitialRates(task, drawn.images, seed=PLAN["seed"], patterns=True)

    def score(architecture):
        return measure_scores(architecture, rates, drawn.labels, [PLAN["proxy"]])[PLAN["proxy"]]

    for space in map(Space.from_dict, scale["spaces"]):
        objective = Objective(space, task, num_images=PLAN["images"], convention=CONVENTION, device=DEVICE, **taken)
        for one in scale["baselines"]:
            spec = {field: value for field, value in one.items() if field != "name"}
            baseline = objective.evaluate(Architecture.uniform(**spec))
            names[baseline.architecture.key], measured[baseline.architecture.key] = one["name"], baseline

        def measure(space=space, objective=objective):
            print(f"measuring space {space.name}", file=sys.stderr, flush=True)
            return [objective.evaluate(architecture).to_dict() for architecture in representatives(space)]

        rows = kept(work / f"pool-{space.name.replace('/', '-')}.json", measure)
        pool = [one for one in map(Candidate.from_dict, rows) if not one.silent]
        for one in scale["baselines"]:
            baseline = next(found for key, found in measured.items() if names[key] == one["name"])
            standings.append({"baseline": one["name"], **standing(space, baseline, pool)})
            ways = offers(space, objective, baseline, pool, score)
            for role in scale.get("roles", ways):
                found, where = ways[role]()
                row = {"baseline": one["name"], "space": space.name, "role": role, "found": where, "key": None}
                if found is not None:
                    row |= {"key": found.architecture.key, "architecture": found.architecture.to_text()}
                    row["same_shape"] = shape(found) == shape(baseline)
                    row |= {f"{measure}_gap": round(gap(found, baseline, measure), 5) for measure in EQUAL.values()}
                    measured.setdefault(row["key"], found)
                    name = f"{space.name} {found.architecture.depth}-{found.architecture.embed_dim}"
                    alike = sum(other.partition(" #")[0] == name for other in names.values())
                    names.setdefault(row["key"], f"{name} #{alike + 1}" if alike else name)
                roles.append(row)
    contestants = {key: {"name": names[key], **one.to_dict()} for key, one in measured.items()}
    return {
        "scale": scale,
        "settings": SETTINGS,
        "commit": commit(),
        "standings": standings,
        "roles": roles,
        "contestants": contestants,
    }
