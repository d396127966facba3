"""Search, train the knee of the front, export it, load it back, classify."""

import tempfile
from pathlib import Path

import torch

from autost_optuna import Space, Task, load
from autost_optuna.data import fit
from autost_optuna.data import load as load_data
from autost_optuna.export import export
from autost_optuna.front import knee
from autost_optuna.recipe import Recipe
from autost_optuna.runner import run
from autost_optuna.study import create
from autost_optuna.trainer import train

task = Task.preset("digits")
space = Space.load(str(Path(__file__).with_name("narrow.toml")))
with tempfile.TemporaryDirectory() as folder:
    search = create("example", f"{folder}/autost.journal", space=space, task=task)
    run(search, trials=30)
    chosen = knee(search.front())
    digits = load_data("digits", task)
    trained = train(chosen.architecture, task, digits, Recipe(epochs=2), Path(folder) / "trained")
    bundle = export(search, chosen, Path(folder) / "exported", weights=trained.path)

    network = load(bundle)
    images = fit(digits.test.images[:10], digits.normalisation, task)
    with torch.no_grad():
        guesses = network(images).argmax(1)
    print("architecture", network.architecture.to_text())
    print("guessed     ", guesses.tolist())
    print("true        ", digits.test.labels[:10].tolist())
