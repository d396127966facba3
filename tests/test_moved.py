"""Arguments of 0.1.0 that a dataclass groups now do the same until the next version, and warn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autost_optuna import Architecture
from autost_optuna.data import Preparation, Sample, load
from autost_optuna.delivery.export import export
from autost_optuna.search import study as studies
from autost_optuna.search.describe import describe, describe_scores
from autost_optuna.search.runner import Resources, RunCallbacks, run
from autost_optuna.search.settings import Plan
from autost_optuna.training.evaluation import Judging
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment
from autost_optuna.training.trainer import TrainCallbacks, TrainOptions, train

GOLDEN = Path(__file__).parent / "golden" / "0.1.0"


ARCHITECTURE = Architecture(embed_dim=32, depth=1, num_heads=(2,), mlp_ratio=(1,))


def test_a_study_is_created_from_keywords(tmp_path, toy_space, toy_task):
    storage = str(tmp_path / "s.journal")
    new = studies.create("new", storage, Plan(toy_space, toy_task, images=8, seed=3), device="cpu")
    with pytest.warns(FutureWarning, match="create: space, task, images, seed are fields of plan, autost"):
        old = studies.create("old", storage, space=toy_space, task=toy_task, images=8, seed=3)
    assert old.settings == new.settings
    with pytest.raises(TypeError, match="pictures"):
        studies.create("other", storage, Plan(toy_space, toy_task), pictures=8)


def test_trials_are_run_with_keywords(tmp_path, toy_space, toy_task):
    storage, notes, seen = str(tmp_path / "s.journal"), [], []
    new, old = (studies.create(name, storage, Plan(toy_space, toy_task)) for name in ("new", "old"))
    callbacks = RunCallbacks(on_trial=seen.append, stopped=lambda: len(seen) == 3)
    assert run(new, trials=9, resources=Resources(device="cpu"), callbacks=callbacks).ending == "stopped"
    seen.clear()
    with (
        pytest.warns(FutureWarning, match="run: device .* resources"),
        pytest.warns(FutureWarning, match="callbacks"),
    ):
        outcome = run(
            old, trials=9, device="cpu", on_trial=seen.append, on_note=notes.append, stopped=lambda: len(seen) == 3
        )
    assert (outcome.ending, len(seen)) == ("stopped", 3)
    assert old.candidates() == new.candidates()


def test_a_network_is_trained_with_keywords(tmp_path, toy_task):
    task = replace(toy_task, channels=1)
    network = Architecture.uniform(embed_dim=16, num_heads=2, mlp_ratio=1, depth=1)
    digits, recipe, epochs = load("digits", task), Recipe(epochs=1, images=60), []
    new = train(
        Assignment(network, task, digits, recipe),
        tmp_path / "new",
        options=TrainOptions(accelerator="cpu", judging=Judging(test_images=10)),
        callbacks=TrainCallbacks(on_epoch=epochs.append),
    )
    with (
        pytest.warns(FutureWarning, match="train: architecture, task, dataset, recipe .* assignment"),
        pytest.warns(FutureWarning, match="train: judging, accelerator .* options"),
        pytest.warns(FutureWarning, match="train: on_epoch .* callbacks"),
    ):
        old = train(
            network,
            task,
            digits,
            recipe,
            tmp_path / "old",
            accelerator="cpu",
            judging=Judging(test_images=10),
            on_epoch=epochs.append,
        )
    assert (old.measured, old.test_accuracy, len(epochs)) == (new.measured, new.test_accuracy, 2)


@pytest.mark.slow
def test_export_takes_its_contents_as_keywords(tmp_path):
    place = shutil.copytree(GOLDEN, tmp_path / "golden")
    search = studies.open_search("golden", str(place / "studies.journal"))
    (member,) = (one for one in search.candidates() if one.number == 3)
    weights = place / "trained" / "golden-3" / "model.safetensors"
    with pytest.warns(FutureWarning, match="export: weights, plain .* contents"):
        made = export(search, member, tmp_path / "bundle", weights=weights, plain=True)
    assert (made / "model.py").exists()
    assert json.loads((made / "manifest.json").read_text())["training"]["data"] == "digits"


def test_how_files_are_made_ready_is_a_preparation(toy_task):
    new = load("digits", toy_task, preparation=Preparation(cache=False))
    with pytest.warns(FutureWarning, match="load: download, cache .*Preparation"):
        old = load("digits", toy_task, download=False, cache=False)
    assert old.fingerprint() == new.fingerprint()


def test_images_of_a_description_are_a_sample(toy_task):
    new = describe(ARCHITECTURE, toy_task, Sample(images=2, seed=3, seeds=2), counting="exact")
    with pytest.warns(FutureWarning, match="describe: images, seed, seeds .*Sample"):
        old = describe(ARCHITECTURE, toy_task, images=2, seed=3, seeds=2, counting="exact")
    assert old == new
    with pytest.warns(FutureWarning, match="describe: images"):
        assert describe(ARCHITECTURE, toy_task, images=4) == describe(ARCHITECTURE, toy_task)


def test_images_of_scores_are_a_sample(toy_task):
    new = describe_scores(ARCHITECTURE, toy_task, Sample(images=2, seed=3))
    with pytest.warns(FutureWarning, match="describe_scores: images, seed"):
        assert describe_scores(ARCHITECTURE, toy_task, images=2, seed=3) == new
