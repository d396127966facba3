"""Tasks of files: what they hold, and the whole way of a study with images of one's own."""

import csv
import io
import itertools
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from makers import write_images

from autost_optuna import Objective, Space, Task, load, units
from autost_optuna.delivery.report import report_of
from autost_optuna.files import toml_text
from autost_optuna.front.picks import Pick
from autost_optuna.search.bills import bills_of
from autost_optuna.search.study import open_search
from autost_optuna.training.records import trainings_of


def test_a_task_of_a_file(tmp_path):
    path = tmp_path / "shapes.toml"
    path.write_text("image_size = 40\nchannels = 1\nnum_classes = 3\n")
    task = Task.load(str(path))
    assert task == Task(name="shapes", image_size=40, channels=1, num_classes=3)
    assert Task.from_dict(task.to_dict()) == task
    path.write_text("name = 'big'\nimage_size = 64\nchannels = 3\nnum_classes = 9\ntime_steps = 2\npooling = '1111'\n")
    assert Task.load(str(path)) == Task(
        name="big", image_size=64, channels=3, num_classes=9, time_steps=2, pooling="1111"
    )
    path.write_text(toml_text(Task.preset("nmnist").to_dict()))
    assert Task.load(str(path)) == Task.load("nmnist")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size = 32", r"shapes.toml: task shapes: unknown key 'size'; allowed are name, image_size, channels"),
        ("image_size = 32", "task shapes lacks the key 'channels'; it needs image_size, channels, num_classes"),
        ("channels = 3.0", "shapes.toml: channels 3.0 is not a whole number"),
        ("image_size = 100000", "image_size 100000 is over the bound 4096"),
        ("pooling = 11", "pooling 11 is not four flags"),
        ("events = 1", "events 1 is not true or false"),
        ("name = ''", "name '' is not a name for a task"),
        ("name = 3", "name 3 is not a name for a task"),
        ("max_depth = 0", "max_depth 0 is not a whole number of at least 1"),
        ("name = 'cifar10'", "names itself cifar10 and differs from the task of that name; rename it"),
        ("name = [", "is not TOML .*see examples/my_task.toml"),
    ],
)
def test_wrong_files_of_a_task_are_refused_with_key_and_remedy(tmp_path, text, said):
    path = tmp_path / "shapes.toml"
    rest = {"image_size": 40, "channels": 1, "num_classes": 3}
    more = "" if text == "image_size = 32" else "".join(f"{k} = {v}\n" for k, v in rest.items() if k not in text)
    path.write_text(f"{more}{text}\n")
    with pytest.raises(ValueError, match=said):
        Task.load(str(path))
    with pytest.raises(ValueError, match=r"no task 'svhn'; choose one of cifar10, .*, or give a FILE.toml"):
        Task.load("svhn")


@pytest.fixture
def shapes(cli, tmp_path):
    """Images of three classes, the toy space, and the example of a task of one's own."""
    write_images(tmp_path / "images", names=("circle", "square", "star"), size=(40, 40))
    for split, number in itertools.product(("train", "test"), range(9)):  # enough to validate on, and to export
        for name in ("circle", "square", "star"):
            folder = tmp_path / "images" / split / name
            shutil.copy(
                folder / ("a.png" if number % 2 else "b.JPG"), folder / f"{number}{'.png' if number % 2 else '.jpg'}"
            )
    (tmp_path / "toy.toml").write_text("embed_dim = [16, 24]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    shutil.copy(Path(__file__).parent.parent / "examples" / "my_task.toml", tmp_path)
    return cli


def test_own_images_and_a_task_of_other_classes_are_refused_before_the_search(shapes, tmp_path):
    create = ["study", "create", "own", "--space", "toy.toml", "--data", "imagefolder", "--data-root", "images"]
    refused = shapes(*create, "--task", "cifar10")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error: data imagefolder has 3 classes, task cifar10 10; give a task of 3 classes (--task FILE.toml, such "
        "as examples/my_task.toml)\n"
    )
    assert not (tmp_path / "autost.journal").exists()
    space = Space.load(str(tmp_path / "toy.toml"))
    with pytest.raises(ValueError, match="data imagefolder has 3 classes, task cifar10 10"):
        Objective(space, Task.preset("cifar10"), data="imagefolder", data_root=tmp_path / "images")
    digits = shapes("study", "create", "digits", "--space", "toy.toml", "--task", "my_task.toml")
    assert digits.exit_code == 0  # other images stand in for rates; of these only a warning is given
    assert "warning: rates for shapes are measured on digits, scaled up; give --data imagefolder" in digits.stderr


@pytest.mark.slow
def test_a_task_of_a_file_is_searched_trained_exported_and_made_again(shapes, tmp_path, monkeypatch):
    own = ["--data", "imagefolder", "--data-root", "images"]
    create = ["study", "create", "own", "--space", "toy.toml", "--task", "my_task.toml", *own]
    created = shapes(*create)
    assert created.exit_code == 0, created.output
    assert "task shapes" in created.stdout
    assert "warning" not in created.stderr
    (tmp_path / "my_task.toml").rename(tmp_path / "moved.toml")  # the study has its own copy
    task = Task.load(str(tmp_path / "moved.toml"))
    for words in (
        "study run own --trials 4",
        "train own --knee --epochs 1",  # on the images that the rates are of
        "study fork own forked",
        "study copy own --to sqlite:///team.db",
        "describe own:0 -f json",
        "describe C=16,depth=1,heads=2,ratio=1 --task moved.toml -q",
    ):
        result = shapes(*words.split())
        assert result.exit_code == 0, (words, result.output)
        if words.startswith("describe own"):
            assert json.loads(result.stdout)["task"] == task.to_dict()
    (tmp_path / "images").rename(tmp_path / "gone")
    refused = shapes("export", "own", "--knee", "-o", "bundle", "--data-root", "images")
    assert "no folder images/train" in refused.stderr
    exported = shapes("export", "own", "--knee", "-o", "bundle", "--standalone")
    assert exported.exit_code == 0, exported.output
    assert "the study's images of imagefolder are not in" in exported.stderr
    (tmp_path / "gone").rename(tmp_path / "images")
    for name, storage in (("own", "autost.journal"), ("forked", "autost.journal"), ("own", "sqlite:///team.db")):
        assert open_search(name, storage).settings.task == task
    search = open_search("own", "autost.journal")
    (trained,) = trainings_of(search)
    assert trained.data == "imagefolder"
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["task"], manifest["audited"]) == (task.to_dict(), False)
    assert manifest["onnx"]["source"] == "noise, seed 0"
    candidate = search.candidate(manifest["trial"])
    assert manifest["candidate"] == candidate.to_dict()
    audit = list(csv.DictReader(io.StringIO((tmp_path / "bundle" / "audit.csv").read_text())))
    assert {(row["rate"], row["energy_pj"]) for row in audit if row["kind"] == "ac"} == {("", "")}
    (whole,) = bills_of(search, [Pick(names=("knee",), candidate=candidate)])
    real = [charge for charge in whole.charges if charge.rate is None]
    assert [(row["name"], float(row["energy_pj"])) for row in audit if row["kind"] != "ac"] == [
        (charge.name, charge.energy_pj) for charge in real
    ]
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "`audit.csv` has the operations without their spike rates" in card
    assert units.energy(candidate.energy_mj) in card
    network = load(tmp_path / "bundle")
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    report = report_of(search)
    assert [name for name, _ in report.files][:2] == ["space.toml", "task.toml"]
    assert "--task task.toml --data imagefolder --data-root DIR" in report.commands[0]
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    for name, text in report.files:
        Path(name).write_text(text)
    for line in report.commands[:-1]:
        words = [str(tmp_path / "images") if word == "DIR" else word for word in shlex.split(line)[1:]]
        result = shapes(*words)
        assert result.exit_code == 0, (line, result.output)
    again = open_search("own", "autost.journal")
    assert again.settings == search.settings
    assert [c.to_dict() for c in again.candidates()] == [c.to_dict() for c in search.candidates()]
    assert [one.key for one in trainings_of(again)] == [trained.key]
