"""What 0.1.0 wrote is read as 0.1.0 read it: studies, trained networks, checkpoints, bundles. See golden/make.py."""

import gzip
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from autost_optuna.training.resume import Assignment

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the golden files, unpacked: no test writes to them."""
    there = shutil.copytree(GOLDEN / "0.1.0", tmp_path_factory.mktemp("golden") / "0.1.0")
    for name in make.PACKED:
        (there / name).write_bytes(gzip.decompress((there / f"{name}.gz").read_bytes()))
    return there


@pytest.fixture(scope="module")
def expected():
    return json.loads((GOLDEN / "0.1.0" / "expected.json").read_text())


@pytest.fixture(scope="module")
def images():
    return make.rate_images(make.TASK, make.Sample(images=4, seed=1), split="test").images


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_study_and_its_front_are_read_and_measured_again_bit_for_bit(folder, expected, storage):
    place = str(folder / make.STORAGE) if storage == "journal" else f"sqlite:///{folder / 'studies.db'}"
    found = json.loads(json.dumps(make.read_search(place)))
    for ours, theirs in zip(found["trials"], expected[storage]["trials"], strict=True):
        for name, value in theirs.items():
            # Later versions may say more of a candidate, never something else.
            assert ours[name] == (value if name != "candidate" else {**ours[name], **value}), theirs["text"]
    assert found["front"] == expected[storage]["front"]
    assert found["hypervolume"] == expected[storage]["hypervolume"]


def test_trained_networks_are_read_and_compute_the_same(folder, expected, images):
    found = json.loads(json.dumps(make.read_trained(folder, images)))
    for ours, theirs in zip(found, expected["trained"], strict=True):
        assert theirs["record"].items() <= ours["record"].items()
        for name in ("logits", "initial_logits"):
            torch.testing.assert_close(torch.tensor(ours[name]), torch.tensor(theirs[name]), rtol=1e-5, atol=1e-6)
            assert torch.tensor(theirs[name]).std() > 0.01  # not silent


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_a_bundle_is_loaded_and_computes_the_same(folder, expected, images, name):
    found = torch.tensor(make.logits(make.load(folder / name), images, trained=False))
    torch.testing.assert_close(found, torch.tensor(expected["bundles"][name]), rtol=1e-5, atol=1e-6)
    assert found.std() > 0.01


def test_an_interrupted_training_goes_on(folder):
    architecture = make.open_search("golden", str(folder / make.STORAGE)).front()[0].architecture
    assignment = Assignment(architecture, make.TASK, make.load_data("digits", make.TASK), make.RECIPE)
    trained = make.train(assignment, folder / "interrupted")
    assert len(trained.log) == 2
    assert not (folder / "interrupted" / "resume.safetensors").exists()


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in (GOLDEN / "0.1.0").rglob("*") if path.is_file()) < 1_000_000
