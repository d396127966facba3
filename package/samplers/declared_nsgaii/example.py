"""Search a space in which some parameters exist only for some values of others."""

from collections.abc import Mapping
from typing import Any

import optuna
import optunahub
from optuna.distributions import IntDistribution

SPACE = {"layers": IntDistribution(1, 4), **{f"width_{i}": IntDistribution(16, 128, step=16) for i in range(4)}}


def active(values: Mapping[str, Any]) -> set[str]:
    """The parameters that the objective asks for."""
    return {"layers", *(f"width_{i}" for i in range(values["layers"]))}


def objective(trial: optuna.Trial) -> tuple[int, int]:
    """Units, and weights, of a perceptron with 64 inputs and 10 outputs."""
    layers = trial.suggest_int("layers", 1, 4)
    widths = [trial.suggest_int(f"width_{i}", 16, 128, step=16) for i in range(layers)]
    return sum(widths), sum(a * b for a, b in zip([64, *widths], [*widths, 10], strict=True))


if __name__ == "__main__":
    module = optunahub.load_module("samplers/declared_nsgaii")
    sampler = module.DeclaredNSGAIISampler(SPACE, active=active, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=200)
    print(len({str(trial.params) for trial in study.trials}), "different points in", len(study.trials), "trials")
    print(len(study.best_trials), "of them on the front")
