"""The sampler in a study of one's own: a declared space in which some parameters exist only for some values of others."""

# %% The whole space, declared in advance.
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution

from autost_optuna import DeclaredNSGAIISampler

# A parameter stands behind those that decide whether it is asked for.
SPACE = {"layers": IntDistribution(1, 4), "norm": CategoricalDistribution(["none", "batch", "layer"])}
SPACE |= {f"width_{layer}": IntDistribution(16, 128, step=16) for layer in range(1, 5)}


def active(values):
    """The parameters that the objective asks for, given the others."""
    return {"layers", "norm", *(f"width_{layer}" for layer in range(1, values["layers"] + 1))}


# %% An objective as Optuna's tutorials write it.
def objective(trial):
    """Units, and thousands of weights, of a perceptron with 64 inputs and 10 outputs."""
    layers = trial.suggest_int("layers", 1, 4)
    widths = [trial.suggest_int(f"width_{layer}", 16, 128, step=16) for layer in range(1, layers + 1)]
    norm = trial.suggest_categorical("norm", ["none", "batch", "layer"])
    weights = sum(a * b for a, b in zip([64, *widths], [*widths, 10], strict=True))
    if norm != "none":
        weights += 2 * sum(widths)
    return sum(widths), weights / 1e3


# %% No point is repeated, and dormant genes are kept.
optuna.logging.set_verbosity(optuna.logging.WARNING)
sampler = DeclaredNSGAIISampler(SPACE, active=active, population_size=20, seed=0)
study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
study.optimize(objective, n_trials=400)
points = {tuple(sorted(trial.params.items())) for trial in study.trials}
front = sorted(study.best_trials, key=lambda trial: trial.values[1])
print(f"{len(points)} different points in {len(study.trials)} trials, {len(front)} of them on the front")
for trial in (front[0], front[len(front) // 2], front[-1]):
    widths = [value for name, value in trial.params.items() if name.startswith("width")]
    print(f"{trial.values[0]:.0f} units, {trial.values[1]:.1f} thousand weights: {widths}, norm {trial.params['norm']}")
