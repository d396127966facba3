import hashlib
import json

import pytest
import torch
import yaml

import autost_optuna
from autost_optuna import Architecture, SpikingTransformer, load
from autost_optuna import study as studies
from autost_optuna.data import load as load_data
from autost_optuna.export import export
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.recipe import Recipe
from autost_optuna.runner import run
from autost_optuna.trainer import train


@pytest.fixture
def search(tmp_path, toy_space, toy_task):
    made = studies.create("s<b>", str(tmp_path / "s.journal"), space=toy_space, task=toy_task)
    run(made, trials=5)
    return made


@pytest.fixture
def bundle(search, tmp_path):
    return export(search, search.candidates()[0], tmp_path / "bundle")


def test_a_bundle_holds_what_it_says(search, bundle):
    candidate = search.candidates()[0]
    files = {path.name for path in bundle.iterdir()}
    assert files == {"architecture.json", "autost.yaml", "model.safetensors", "README.md", "manifest.json"}
    assert Architecture.load(bundle / "architecture.json") == candidate.architecture
    assert Architecture.load(bundle / "autost.yaml") == candidate.architecture
    assert set(yaml.safe_load((bundle / "autost.yaml").read_text())) == {"RETRAIN"}
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    assert manifest["data"]["fingerprint"] == search.settings.fingerprint
    assert manifest["convention"] == {**DEFAULT.to_dict(), "hash": DEFAULT.hash}
    assert manifest["versions"]["autost-optuna"] == autost_optuna.__version__
    assert manifest["candidate"]["flops"] == candidate.flops
    assert manifest["training"] is None
    card = (bundle / "README.md").read_text()
    assert "untrained" in card
    assert candidate.architecture.to_text() in card


def test_the_untrained_bundle_gives_the_logits_of_its_seed(search, bundle):
    candidate = search.candidates()[0]
    images = torch.randn(3, 1, 8, 8)
    expected = SpikingTransformer(candidate.architecture, search.settings.task, seed=search.settings.seed).eval()
    with torch.no_grad():
        assert torch.equal(load(bundle)(images), expected(images))


def test_a_trained_bundle_gives_the_logits_of_its_checkpoint(search, tmp_path):
    candidate = search.candidates()[0]
    digits = load_data("digits", search.settings.task)
    result = train(
        candidate.architecture, search.settings.task, digits, Recipe(epochs=1, batch_size=256), tmp_path / "t"
    )
    for index, weights in enumerate((result.path, result.path.parent)):
        bundle = export(search, candidate, tmp_path / f"b{index}", weights=weights)
        manifest = json.loads((bundle / "manifest.json").read_text())
        assert manifest["training"]["test_accuracy"] == result.test_accuracy
        assert f"{result.test_accuracy:.2%}" in (bundle / "README.md").read_text()
        images = torch.randn(3, 1, 8, 8)
        trained, _ = autost_optuna.checkpoint.load_network(result.path)
        with torch.no_grad():
            assert torch.equal(load(bundle)(images), trained(images))


def test_weights_of_another_architecture_are_refused_and_nothing_is_left(search, tmp_path):
    first, other = search.candidates()[0], None
    other = next(c for c in search.candidates() if c.architecture != first.architecture)
    bundle = export(search, first, tmp_path / "first")
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match="give the checkpoint of this one"):
        export(search, other, tmp_path / "other", weights=bundle / "model.safetensors")
    assert set(tmp_path.iterdir()) == before


def test_weights_without_a_finished_training_are_refused(search, tmp_path):
    candidate = search.candidates()[0]
    bundle = export(search, candidate, tmp_path / "untrained")
    with pytest.raises(ValueError, match="holds no finished training"):
        export(search, candidate, tmp_path / "other", weights=bundle / "model.safetensors")
    assert not (tmp_path / "other").exists()


def test_an_existing_folder_is_never_overwritten(search, bundle):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="exists and is not overwritten"):
        export(search, search.candidates()[1], bundle)
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_failing_export_leaves_nothing(search, tmp_path, monkeypatch):
    import autost_optuna.export as module

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(module.checkpoint, "save", fail)
    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match="disk full"):
        export(search, search.candidates()[0], tmp_path / "new")
    assert set(tmp_path.iterdir()) == before


def change(bundle, name, edit):
    path = bundle / name
    path.write_text(edit(path.read_text()))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda b: change(b, "architecture.json", lambda text: text.replace("16", "32") + " "),
            "differs from its hash",
        ),
        (lambda b: (b / "README.md").unlink(), "is missing"),
        (lambda b: (b / "manifest.json").unlink(), "has no manifest.json"),
        (lambda b: (b / "manifest.json").write_text("{"), "is not JSON"),
        (lambda b: (b / "manifest.json").write_text("[]"), "not a manifest"),
        (lambda b: change(b, "manifest.json", lambda text: text.replace('"README.md"', '"../s.journal"')), "outside"),
        (lambda b: change(b, "manifest.json", lambda text: text.replace('"README.md"', '"/etc/passwd"')), "outside"),
        (lambda b: (b / "model.safetensors").write_bytes(b"x"), "differs from its hash"),
    ],
)
def test_a_changed_bundle_is_refused(bundle, spoil, said):
    spoil(bundle)
    with pytest.raises(ValueError, match=said):
        load(bundle)
