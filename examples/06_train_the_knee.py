"""Search, train the knee of the front, compare with what was predicted, export it, load it back, classify."""

# %% A search on scikit-learn's digits, in a space for small images.
import os
import tempfile
from pathlib import Path

import torch

from autost_optuna import Space, Task, load
from autost_optuna.data import fit
from autost_optuna.data import load as load_data
from autost_optuna.delivery.export import Contents, export
from autost_optuna.front.picks import knee
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment
from autost_optuna.training.trainer import train

TRIALS, EPOCHS = int(os.environ.get("TRIALS", 100)), int(os.environ.get("EPOCHS", 10))
folder = tempfile.TemporaryDirectory()
here = Path(folder.name)
task = Task.preset("digits")
space = Space.load(str(Path(__file__).with_name("narrow.toml")))
search = create("example", str(here / "autost.journal"), Plan(space=space, task=task))
run(search, trials=TRIALS)
chosen = knee(search.front())
print("knee", chosen.architecture.to_text())

# %% Train it. The recipe is a file where it is to be kept: my_recipe.toml.
digits = load_data("digits", task)
trained = train(Assignment(chosen.architecture, task, digits, Recipe(epochs=EPOCHS)), here / "trained")
print(f"{trained.test_accuracy:.1%} of the test digits right after {EPOCHS} epochs")
print(f"{trained.measured.energy_mj:.4f} mJ measured, {chosen.energy_mj:.4f} mJ predicted")

# %% Take it away: a folder that is complete in itself, and a network of torch again.
bundle = export(search, chosen, here / "exported", Contents(weights=trained.path))
network = load(bundle)
images = fit(digits.test.images[:10], digits.normalisation, task)
with torch.no_grad():
    guesses = network(images).argmax(1)
print("guessed", guesses.tolist())
print("true   ", digits.test.labels[:10].tolist())

# %%
folder.cleanup()
