"""Search AutoST's tiny space, 290 million spiking transformers, for the best trade of capacity against energy."""

# %% A study in a file here; the same command line, and optuna-dashboard, read it too.
import os
import tempfile

from autost_optuna import Space, Task
from autost_optuna.front.picks import knee, pick
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.search.summary import summarise

TRIALS = int(os.environ.get("TRIALS", 500))  # less than a minute on two cores

folder = tempfile.TemporaryDirectory()
search = create("minute", f"{folder.name}/autost.journal", Plan(space=Space.load("tiny"), task=Task.preset("cifar10")))

# %% Nothing is trained: FLOPs are counted, energy is estimated. Run the cell again for more trials.
outcome = run(search, trials=TRIALS)
print(f"{outcome.done} trials in {outcome.duration_s:.0f} s")

# %% How healthy the search is; in a notebook, `summarise(search)` and `search` are tables.
summary = summarise(search)
print(f"{summary.health.front_size} of {summary.health.unique} on the front, hypervolume {summary.hypervolume:.4f}")

# %% The knee, and the five members that dominate most together.
members = search.front()
print("knee:", knee(members).architecture.to_text())
for member in pick(members, search.settings.box, 5):
    print(f"{member.energy_mj:.4f} mJ  {member.flops / 1e9:.3f} GFLOPs  {member.architecture.to_text()}")

# %%
folder.cleanup()
