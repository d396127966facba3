"""Search in a plain Optuna study: Objective is all that this project adds to it."""

import optuna

from autost_optuna import Candidate, Objective, Space, Task

space = Space.load("tiny", uniform=True)
objective = Objective(space, Task.preset("digits"))

study = optuna.create_study(
    directions=["maximize", "minimize"],
    sampler=optuna.samplers.NSGAIISampler(population_size=20, seed=0),
)
study.optimize(objective, n_trials=40)

for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
    candidate = Candidate.from_dict(trial.user_attrs["candidate"])
    print(f"{candidate.energy_mj:.4f} mJ  {candidate.flops / 1e9:.3f} GFLOPs  {candidate.architecture.to_text()}")
