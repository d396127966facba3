"""Search in a plain Optuna study, with any of its samplers: Objective is all that this project adds to it."""

# %% Two objectives: FLOPs, maximised, and energy in mJ per image, minimised.
import os

import optuna

from autost_optuna import Candidate, DeclaredNSGAIISampler, Objective, Space, Task

TRIALS = int(os.environ.get("TRIALS", 100))
optuna.logging.set_verbosity(optuna.logging.WARNING)
space = Space.load("tiny")
objective = Objective(space, Task.preset("digits"))

# %% Optuna's own sampler, or this project's, which knows the whole space and repeats nothing. Both share what is measured.
# With storage="sqlite:///studies.db" and a study_name, every command of autost-optuna works on the studies.
samplers = {
    "NSGAIISampler": optuna.samplers.NSGAIISampler(population_size=20, seed=0),
    "DeclaredNSGAIISampler": DeclaredNSGAIISampler(
        space.distributions(), active=space.active, population_size=20, seed=0
    ),
}
studies = {}
for name, sampler in samplers.items():
    studies[name] = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    studies[name].optimize(objective, n_trials=TRIALS)
    points = {tuple(sorted(trial.params.items())) for trial in studies[name].trials}
    print(f"{name}: {len(studies[name].best_trials)} on the front, {len(points)} points in {TRIALS} trials")

# %% Every trial holds its candidate: how the energy is known, and its spread.
for trial in sorted(studies["DeclaredNSGAIISampler"].best_trials, key=lambda trial: trial.values[1])[:5]:
    candidate = Candidate.from_dict(trial.user_attrs["candidate"])
    print(f"{candidate.energy_mj:.4f} mJ  {candidate.flops / 1e9:.3f} GFLOPs  {candidate.architecture.to_text()}")
