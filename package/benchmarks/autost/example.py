"""Search AutoST's tiny space for networks of much capacity and little energy."""

import optuna
import optunahub

if __name__ == "__main__":
    problem = optunahub.load_module("benchmarks/autost").Problem("tiny", "digits")
    module = optunahub.load_module("samplers/declared_nsgaii")
    sampler = module.DeclaredNSGAIISampler(problem.search_space, active=problem.active, seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.set_metric_names(list(problem.metric_names))
    study.optimize(problem, n_trials=100)
    for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
        flops, energy_mj = trial.values
        shape = f"C={trial.params['embed_dim']} depth={trial.params['depth']}"
        print(f"{energy_mj:.4f} mJ  {flops / 1e9:.3f} GFLOPs  {shape}")
