"""Paths as callers give them: a str or any os.PathLike, wherever a public function takes one."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from makers import write_images
from PIL import Image

from autost_optuna import Architecture, Objective, Space, Task, load, read_table
from autost_optuna.data import Sample, rate_images
from autost_optuna.data import load as load_data
from autost_optuna.delivery.bundle import opened
from autost_optuna.delivery.export import Contents, export
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.study import stages_figure
from autost_optuna.delivery.report import write_report
from autost_optuna.front.picks import Pick
from autost_optuna.proxies.convention import CONVENTIONS, Convention
from autost_optuna.search.bills import bills_of
from autost_optuna.search.catalogue import find_architecture
from autost_optuna.search.describe import describe, describe_scores
from autost_optuna.search.fork import fork
from autost_optuna.search.runner import Resources, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, find_exact, open_search
from autost_optuna.storage.artifacts import store_of
from autost_optuna.storage.storage import open_storage
from autost_optuna.training import checkpoint
from autost_optuna.training.orders import Means, orders
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.training.resume import Assignment
from autost_optuna.training.trainer import train

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"
TASK = Task(name="own", image_size=8, channels=3, num_classes=2, time_steps=2, pooling="0001")
SPACE = Space(name="two", embed_dim=(16,), depth=(1,), num_heads=(2,), mlp_ratio=(1, 2))
ARCHITECTURE = Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=1)


@dataclass
class Somewhere:
    """A path of another library."""

    path: str

    def __fspath__(self):
        return self.path


def as_path_like(path):
    return Somewhere(str(path))


FORMS = pytest.mark.parametrize("form", [str, as_path_like])


@pytest.fixture
def root(tmp_path):
    """Images of two classes, bright and dark, eight for training and two for test of each."""
    write_images(tmp_path / "images", names=("bright", "dark"))
    generator = np.random.default_rng(0)
    for place in (tmp_path / "images" / "train").iterdir():
        for number in range(6):
            pixels = generator.integers(
                *((128, 256) if place.name == "bright" else (0, 128)), (8, 8, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "images"


@FORMS
def test_images_are_measured_where_a_caller_says(root, form):
    chosen = {"data": "imagefolder", "data_root": form(root)}
    sample = Sample(**chosen)
    drawn = rate_images(TASK, sample)
    assert drawn.fingerprint == rate_images(TASK, Sample(data="imagefolder", data_root=root)).fingerprint
    assert load_data("imagefolder", TASK, form(root)).num_classes == 2
    found = describe(ARCHITECTURE, TASK, sample).candidate
    assert describe_scores(ARCHITECTURE, TASK, sample)["energy_mj"] == found.energy_mj
    assert Objective(SPACE, TASK, **chosen).images.fingerprint == drawn.fingerprint


@FORMS
def test_files_are_read_where_a_caller_says(tmp_path, form):
    def written(name, text):
        (tmp_path / name).write_text(text)
        return form(tmp_path / name)

    assert Architecture.load(
        written("a.json", '{"embed_dim": 16, "depth": 1, "num_heads": [2], "mlp_ratio": [1]}')
    ) == (ARCHITECTURE)
    assert find_architecture(form(tmp_path / "a.json"), "none")[0] == ARCHITECTURE
    text = "embed_dim = [16]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n"
    assert Space.load(written("two.toml", text)) == SPACE
    assert Recipe.load(written("r.toml", Recipe(epochs=1).to_toml())) == Recipe(epochs=1)
    assert Convention.load(form(ROOT / "examples" / "my_chip.toml")).name not in CONVENTIONS
    assert read_table(written("t.csv", "a,b\n1,2\n")).names == ("a", "b")


def test_a_search_is_made_trained_and_taken_away_where_a_caller_says(root, tmp_path):
    form = as_path_like
    place = tmp_path / "autost.journal"
    search = create("s", form(place), Plan(space=SPACE, task=TASK, data="imagefolder", data_root=form(root)))
    assert search.settings.data_root == str(root)
    assert open_search("s", form(place)).settings == search.settings
    assert open_storage(form(place)).get_all_studies()[0].study_name == "s"
    run(search, trials=2, resources=Resources(data_root=form(root)))
    front = search.front()
    assert find_exact(search, data_root=form(root)).members
    assert fork(search, "again", form(place), data_root=form(root)).reason is None
    bills = bills_of(search, [Pick(names=("knee",), candidate=front[0])], form(root))
    assert bills[0].charges
    write_figure(stages_figure(search, form(root)), form(tmp_path / "new" / "stages.json"))
    write_report(search, form(tmp_path / "new" / "report.html"), form(root))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"stages.json", "report.html"}

    recipe = Recipe(epochs=1, batch_size=4, validation_share=0.25)
    (order,) = orders(search, front[:1], recipe, 1, form(tmp_path / "trained"))
    assert order.folder == tmp_path / "trained" / f"s-{front[0].number}"
    means = Means(data="imagefolder", data_root=form(root))
    dataset = load_data(means.data, TASK, means.data_root)
    trained = train(Assignment(front[0].architecture, TASK, dataset, recipe), form(order.folder))
    assert trained.path == order.folder / "model.safetensors"
    for given in (form(order.folder), form(trained.path)):
        assert checkpoint.load_trained(given, front[0].architecture, TASK)[0].architecture == front[0].architecture
    network, info = checkpoint.load_network(form(trained.path))
    checkpoint.save(form(tmp_path / "copy.safetensors"), network.state_dict(), info)
    assert checkpoint.load(form(tmp_path / "copy.safetensors"))[1] == info
    made = open_trained(search, create=True, artifacts=form(tmp_path / "curves"))
    assert made.artifacts == tmp_path / "curves"
    assert store_of(os.fspath(place), form(tmp_path)) is not None

    (tmp_path / "bundle").mkdir()
    with pytest.raises(ValueError, match="bundle exists and is not overwritten"):
        export(search, front[0], form(tmp_path / "bundle"), Contents(weights=form(trained.path)), data_root=form(root))


@FORMS
def test_a_bundle_is_read_where_a_caller_says(form):
    place = GOLDEN / "bundle"
    with opened(form(place)) as inside:
        assert inside.manifest["format"] == 1
    assert load(form(place)).architecture == load(place).architecture
