import copy
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from click.testing import CliRunner

import autost_optuna
from autost_optuna import Architecture, Space, SpikingTransformer, Task, load
from autost_optuna.cli import main
from autost_optuna.data import COUNTS, fit
from autost_optuna.data import load as load_data
from autost_optuna.delivery import graphs, standalone
from autost_optuna.delivery.bundle import opened, pack, placed
from autost_optuna.delivery.export import Contents, export
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.search import study as studies
from autost_optuna.search.describe import describe
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.training.evaluation import recalibrate
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment
from autost_optuna.training.trainer import train

ROOT = Path(__file__).parent.parent
SPACE = Space(name="toy", embed_dim=(16, 32), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")
FILES = {
    "README.md",
    "architecture.json",
    "audit.csv",
    "autost.yaml",
    "manifest.json",
    "model.onnx",
    "model.pt2",
    "model.safetensors",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def search(place):
    made = studies.create("s<b>", str(place / "s.journal"), Plan(space=SPACE, task=TASK))
    run(made, trials=5)
    return made


@pytest.fixture(scope="module")
def candidate(search):
    return min(search.candidates(), key=lambda candidate: candidate.params)


@pytest.fixture(scope="module")
def untrained(search, candidate, place):
    return export(search, candidate, place / "untrained")


@pytest.fixture(scope="module")
def training(search, candidate, place):
    digits = load_data("digits", TASK)
    return train(
        Assignment(candidate.architecture, TASK, digits, Recipe(epochs=2, batch_size=128, images=512)), place / "t"
    )


@pytest.fixture(scope="module")
def told(search, candidate, training, place):
    """What the command says that writes the trained network."""
    words = ["export", search.study.study_name, "--trial", str(candidate.number), "--storage", search.storage]
    words += ["--checkpoint", str(training.path.parent), "--standalone", "-o", str(place / "trained.zip")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def trained(told, place):
    return place / "trained.zip"


@pytest.fixture
def unpacked(trained, tmp_path):
    with zipfile.ZipFile(trained) as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


@pytest.fixture
def bundle(untrained, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(untrained, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def every_digit():
    """The test set as the network reads it."""
    data = load_data("digits", TASK)
    return fit(data.test.images, data.normalisation, TASK)


@pytest.fixture(scope="module")
def digits(every_digit):
    return every_digit[:32]


@contextmanager
def unchanged(folder):
    """Nothing in the folder is changed, and nothing is left."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def logits(network, images):
    with torch.no_grad():
        return network(images)


@pytest.mark.slow
def test_a_bundle_holds_what_it_says(search, candidate, untrained):
    assert {path.name for path in untrained.iterdir()} == FILES
    assert Architecture.load(untrained / "architecture.json") == candidate.architecture
    assert Architecture.load(untrained / "autost.yaml") == candidate.architecture
    assert set(yaml.safe_load((untrained / "autost.yaml").read_text())) == {"RETRAIN"}
    manifest = json.loads((untrained / "manifest.json").read_text())
    assert set(manifest["files"]) == FILES - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((untrained / name).read_bytes()).hexdigest() == digest
    assert manifest["data"]["fingerprint"] == search.settings.fingerprint
    assert manifest["audited"] is True
    assert manifest["convention"] == {**DEFAULT.to_dict(), "hash": DEFAULT.hash}
    assert manifest["versions"]["autost-optuna"] == autost_optuna.__version__
    assert set(manifest["versions"]) >= {"torch", "spikingjelly", "optuna", "onnx", "onnxruntime", "safetensors"}
    assert manifest["seed"] == search.settings.seed
    assert manifest["candidate"]["flops"] == candidate.flops
    assert manifest["training"] is None
    for path in untrained.iterdir():
        assert str(ROOT).encode() not in path.read_bytes(), path.name


@pytest.mark.process
def test_the_commit_is_that_of_the_checkout(untrained):
    commit = json.loads((untrained / "manifest.json").read_text())["git_commit"]
    if (ROOT / ".git").exists() and shutil.which("git"):
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
        assert commit.removesuffix("-dirty") == head
    else:
        assert commit is None


def test_the_audit_is_the_bill_that_the_search_saw(search, candidate, untrained):
    rows = list(csv.DictReader((untrained / "audit.csv").read_text().splitlines()))
    charges = describe(candidate.architecture, TASK, search.settings.sample()).charges
    assert [row["name"] for row in rows] == [charge.name for charge in charges]
    assert set(rows[0]) >= {"name", "macs", "steps", "driven_by", "rate", "kind", "energy_pj"}
    assert [float(row["energy_pj"]) for row in rows] == [charge.energy_pj for charge in charges]
    assert sum(float(row["energy_pj"]) for row in rows) * 1e-9 == pytest.approx(candidate.energy_mj)
    assert sum(int(row["macs"]) * int(row["steps"]) for row in rows) == candidate.macs


def test_the_audit_is_of_the_studys_images_under_whatever_versions(search, candidate, untrained):
    audit = autost_optuna.delivery.export._audit
    older = replace(search, settings=replace(search.settings, versions={"torch": "1.0"}))
    assert audit(older, candidate, None, None) == audit(search, candidate, None, None)
    assert audit(search, candidate, None, None)[1]
    assert json.loads((untrained / "manifest.json").read_text())["study_versions"] == search.settings.versions
    others = replace(search, settings=replace(search.settings, fingerprint="0" * 16))
    assert not audit(others, candidate, None, None)[1]  # other images are not measured in their place
    with pytest.raises(ValueError, match="those of the study 0000"):
        audit(others, candidate, None, Path())


@pytest.mark.slow
def test_the_audit_of_trained_weights_is_by_their_own_rates(training, unpacked):
    rows = {row["name"]: row for row in csv.DictReader((unpacked / "audit.csv").read_text().splitlines())}
    for name, rate in training.measured.rates.items():
        assert float(rows[name]["rate"]) == rate
    assert sum(float(row["energy_pj"]) for row in rows.values()) * 1e-9 == pytest.approx(training.measured.energy_mj)


def test_the_untrained_bundle_gives_the_logits_of_its_seed(search, candidate, untrained, digits):
    expected = SpikingTransformer(candidate.architecture, TASK, seed=search.settings.seed).eval()
    assert torch.equal(logits(load(untrained), digits), logits(expected, digits))


def test_a_trained_bundle_gives_the_logits_of_its_checkpoint(training, trained, digits):
    network, _ = autost_optuna.training.checkpoint.load_network(training.path)
    assert torch.equal(logits(load(trained), digits), logits(network, digits))


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.slow
def test_onnx_and_the_program_give_the_logits(training, unpacked, digits, batch):
    import onnxruntime

    network, _ = autost_optuna.training.checkpoint.load_network(training.path)
    images = digits[:batch]
    expected = logits(network, images)
    assert expected.std() > 0.1
    assert torch.equal(torch.export.load(unpacked / "model.pt2").module()(images), expected)
    session = onnxruntime.InferenceSession(unpacked / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("images", ["batch", 1, 8, 8])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("logits", ["batch", 10])]
    (found,) = session.run(None, {"images": images.numpy()})
    assert (torch.from_numpy(found) - expected).abs().max() < graphs.TOLERANCE


def test_parity_is_recorded_with_the_spikes_that_it_was_seen_on(unpacked, untrained):
    record = json.loads((unpacked / "manifest.json").read_text())["onnx"]
    assert record["equal_argmax"]
    assert record["max_difference_same_spikes"] <= record["tolerance"] == 1e-4
    assert record["spikes"] > 1000
    assert record["deviation_of_logits"] > 0.1
    assert record["source"] == "test images of digits, seed 0"
    silent = json.loads((untrained / "manifest.json").read_text())["onnx"]
    assert silent["mean_rate"] < record["mean_rate"] / 10  # a comparison that says little, and so there is another
    alive = json.loads((untrained / "manifest.json").read_text())["onnx_alive"]
    assert alive["mean_rate"] > 0.05
    assert alive["max_difference_same_spikes"] <= alive["tolerance"]


@pytest.fixture(scope="module")
def network(training):
    return autost_optuna.training.checkpoint.load_network(training.path)[0]


@pytest.fixture(scope="module")
def onnx_model(trained):
    with opened(trained) as inside, inside.file("model.onnx") as path:
        return onnx.load(path)


def higher(network, by):
    """A copy of the network with higher thresholds."""
    other = copy.deepcopy(network)
    for module in other.modules():
        if hasattr(module, "v_threshold"):
            module.v_threshold += by
    return other


def test_spikes_that_rounding_decides_are_told_from_a_wrong_graph(onnx_model, network, every_digit):
    exact = graphs.check_onnx(onnx_model, network, every_digit, "digits")
    assert exact.max_difference <= graphs.TOLERANCE or exact.flipped
    # Thresholds that differ by less than the tolerance stand for rounding: some potentials lie between the two.
    near = graphs.check_onnx(onnx_model, higher(network, 0.9e-4), every_digit, "digits")
    assert near.flipped > exact.flipped
    assert near.max_difference > graphs.TOLERANCE >= near.max_difference_same_spikes
    with pytest.raises(RuntimeError, match=r"from the threshold; nothing was exported"):
        graphs.check_onnx(onnx_model, higher(network, 1e-2), every_digit, "digits")


def test_other_logits_with_the_same_spikes_are_refused(onnx_model, network, digits):
    other = higher(network, 0.0)
    with torch.no_grad():
        other.head.bias += 0.01
    with pytest.raises(RuntimeError, match=r"differs from torch by 0.01 .* with the same spikes"):
        graphs.check_onnx(onnx_model, other, digits, "digits")


def test_a_failed_comparison_leaves_nothing(search, candidate, onnx_model, place, monkeypatch):
    monkeypatch.setattr(autost_optuna.delivery.export, "write_program", lambda *given: None)
    monkeypatch.setattr(graphs, "make_onnx", lambda *given: onnx_model)  # with other weights than the network
    with unchanged(place), pytest.raises(RuntimeError, match="nothing was exported"):
        export(search, candidate, place / "new")


@pytest.mark.slow
def test_a_network_of_events_is_written_too(tmp_path):
    task = Task(name="ev", image_size=12, channels=2, num_classes=10, time_steps=2, pooling="0101", events=True)
    frames = torch.poisson(torch.rand(6, 2, 2, 12, 12, generator=torch.Generator().manual_seed(0)))
    network = SpikingTransformer(Architecture.from_text("C=16,depth=1,heads=2,ratio=2"), task)
    recalibrate(network, iter([frames]))
    expected = logits(network.eval(), frames)
    graphs.write_program(network, frames, tmp_path / "model.pt2")
    parity = graphs.write_onnx(network, frames, "noise", tmp_path / "model.onnx")
    assert parity.spikes > 1000
    folder = tmp_path / "alone"
    folder.mkdir()
    autost_optuna.training.checkpoint.save(folder / "model.safetensors", network.state_dict(), {})
    (folder / "model.py").write_text(standalone.write_model(network.architecture, task, COUNTS))
    assert torch.equal(alone(folder, frames), expected)


ALONE = """
import sys
sys.modules["autost_optuna"] = None  # cannot be imported
sys.path.insert(0, sys.argv[1])
import torch
import model
network = model.load()
with torch.no_grad():
    torch.save(network(torch.load(sys.argv[2])), sys.argv[2])
assert not any(name.startswith(("autost_optuna.", "safetensors")) for name in sys.modules)
"""


def alone(folder, images):
    """The logits of model.py in a process that has not this package."""
    place = folder.parent / "images.pt"
    torch.save(images, place)
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", ALONE, folder, place]
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert found.returncode == 0, found.stderr
    return torch.load(place)


@pytest.mark.slow
def test_model_py_alone_gives_the_logits(unpacked, trained, digits):
    assert torch.equal(alone(unpacked, digits), logits(load(trained), digits))
    text = (unpacked / "model.py").read_text()
    assert {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))} == {
        "dataclasses",
        "json",
        "math",
        "pathlib",
        "torch",
        "types",
        "spikingjelly",
    }
    assert "`model.py`" in (unpacked / "README.md").read_text()
    assert "model.py" in json.loads((unpacked / "manifest.json").read_text())["files"]


@pytest.mark.process
def test_model_py_is_clean_and_normalises_as_the_data(unpacked, digits):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "128", unpacked / "model.py"],
        capture_output=True,
        text=True,
    )
    if "No module named ruff" not in ruff.stderr:
        assert ruff.returncode == 0, ruff.stdout
    scope = {"__file__": str(unpacked / "model.py"), "__name__": "model"}
    exec((unpacked / "model.py").read_text(), scope)
    raw = torch.as_tensor(load_data("digits", TASK).test.images[:32])
    assert torch.equal(scope["normalise"](raw), digits)
    with pytest.raises(ValueError, match=r"do not fit; give \[B, 1, 8, 8\]"):
        scope["load"]()(torch.zeros(1, 3, 8, 8))
    weights = unpacked / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged at"):
        scope["load"]()


def test_the_card_is_one_that_hugging_face_reads(search, candidate, training, unpacked, untrained):
    front, body = (unpacked / "README.md").read_text().split("---\n", 2)[1:]
    data = yaml.safe_load(front)
    assert set(data) >= {"license", "library_name", "tags", "datasets", "metrics", "model-index"}
    assert data["datasets"] == ["digits"]
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["test accuracy"] == training.test_accuracy
    assert f"{training.test_accuracy:.2%}" in body
    assert candidate.architecture.to_text() in body
    for name in FILES | {"model.py"}:
        assert f"| `{name}` |" in body
    text = (untrained / "README.md").read_text()
    assert "model-index" not in yaml.safe_load(text.split("---\n", 2)[1])
    assert "untrained" in text
    assert "model.py" not in text
    assert "study `s<b>`" in text  # code, and so no markup


def test_a_zip_is_the_same_files_and_the_same_bytes_again(untrained, trained, tmp_path):
    for name in ("one.zip", "two.zip"):
        pack(untrained, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        for path in untrained.iterdir():
            assert archive.read(path.name) == path.read_bytes()
    with zipfile.ZipFile(trained) as archive:
        assert set(archive.namelist()) == FILES | {"model.py"}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_weights_of_another_architecture_are_refused_and_nothing_is_left(search, candidate, untrained, place):
    other = next(c for c in search.candidates() if c.architecture != candidate.architecture)
    with unchanged(place), pytest.raises(ValueError, match="give the checkpoint of this one"):
        export(search, other, place / "other", Contents(weights=untrained / "model.safetensors"))


def test_weights_without_a_finished_training_are_refused(search, candidate, untrained, place):
    with unchanged(place), pytest.raises(ValueError, match="holds no finished training"):
        export(search, candidate, place / "other", Contents(weights=untrained / "model.safetensors"))


def test_what_is_there_is_never_overwritten(search, candidate, untrained, trained, place):
    for there in (untrained, trained):
        with unchanged(place), pytest.raises(ValueError, match="exists and is not overwritten"):
            export(search, candidate, there)


def test_force_replaces_a_bundle_once_the_new_one_is_complete(untrained, trained, tmp_path):
    folder, file, empty = tmp_path / "folder", tmp_path / "file.zip", tmp_path / "empty"
    shutil.copytree(untrained, folder)
    (folder / "notes.txt").write_text("of the old one")
    shutil.copy(trained, file)
    empty.mkdir()
    for target in (folder, file, empty):
        with placed(target, force=True) as part:
            shutil.copytree(untrained, part, dirs_exist_ok=True)
            if target != empty:
                with opened(target):  # the old one is there until the end
                    pass
        with opened(target) as made:
            assert made.manifest["training"] is None
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file.zip", "empty"}
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["mine", "mine.zip", "other.zip", "link", "folder.zip"])
def test_force_does_not_replace_what_is_no_bundle(search, candidate, untrained, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    (tmp_path / "link").symlink_to(untrained)
    shutil.copytree(untrained, tmp_path / "folder.zip")
    with (
        unchanged(tmp_path),
        pytest.raises(ValueError, match="is not an exported bundle, so --force does not replace it"),
    ):
        export(search, candidate, tmp_path / name, force=True)


def test_a_failing_export_leaves_the_old_one(search, candidate, bundle, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(autost_optuna.training.checkpoint, "save", fail)
    for name in ("bundle", "new", "new.zip"):
        with unchanged(tmp_path), pytest.raises(OSError, match="disk full"):
            export(search, candidate, tmp_path / name, force=True)


KILLED = """
import sys, time
import autost_optuna.delivery.export as module
module.write_program = lambda *given: (print("begun", flush=True), time.sleep(60))
from autost_optuna.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_terminated_export_leaves_nothing(search, candidate, tmp_path):
    words = ["export", "s<b>", "--trial", str(candidate.number), "-o", "out", "--storage", search.storage]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", KILLED, *words], cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stdout.readline() == "begun\n", process.stderr.read()
        (part,) = tmp_path.iterdir()
        with placed(tmp_path / "out", force=False):  # of the same name: the one that lives is let alone
            assert part.is_dir()
        (tmp_path / "out").rmdir()
        process.terminate()
        said = process.stderr.read()
    assert (process.returncode, said.strip()) == (130, "error: interrupted")
    assert not list(tmp_path.iterdir())


def test_the_next_export_clears_up_after_a_killed_one(tmp_path):
    for place in (".out.part-x/new", ".out.part-y/old"):  # the second had put the older bundle aside
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "manifest.json").write_text(place)
    with pytest.raises(ValueError, match="exists and is not overwritten"), placed(tmp_path / "out", force=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "manifest.json").read_text() == ".out.part-y/old"


@pytest.mark.parametrize(("interrupted", "left"), [(1, "older"), (2, "newer")])
def test_an_interrupted_replacement_loses_no_bundle(tmp_path, monkeypatch, interrupted, left):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("older")
    rename, calls = os.rename, []

    def interrupt(source, target):
        rename(source, target)
        calls.append(target)
        if len(calls) == interrupted:  # the older bundle is put aside, then the newer one is in its place
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt), placed(tmp_path / "out", force=True) as folder:
        (folder / "manifest.json").write_text("newer")
    assert (tmp_path / "out" / "manifest.json").read_text() == left
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_export_leaves_no_folder_that_it_made(tmp_path):
    with pytest.raises(RuntimeError), placed(tmp_path / "deep" / "new" / "out", force=False):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with placed(tmp_path / "deep" / "new" / "out", force=False):
        pass
    assert (tmp_path / "deep" / "new" / "out").is_dir()


def test_of_two_exports_at_once_to_one_zip_the_first_stays(tmp_path, monkeypatch):
    target = tmp_path / "out.zip"

    def overtaken(folder, packed):
        pack(folder, packed)
        target.write_text("of another, just now")

    monkeypatch.setattr("autost_optuna.delivery.bundle.pack", overtaken)
    with pytest.raises(ValueError, match="exists and is not overwritten"), placed(target, force=False):
        pass
    assert target.read_text() == "of another, just now"
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def change(bundle, name, edit):
    path = bundle / name
    path.write_text(edit(path.read_text()))


def link(bundle, name):
    """The file elsewhere, and a link to it in its place."""
    (bundle / name).rename(bundle.parent / name)
    (bundle / name).symlink_to(bundle.parent / name)


def rename_in_manifest(bundle, old, new):
    change(bundle, "manifest.json", lambda text: text.replace(f'"{old}"', json.dumps(new)))


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
        (lambda b: (b / "manifest.json").write_bytes(b"\xff"), "is not JSON"),
        (lambda b: (b / "manifest.json").write_text("[" * 200_000), "is not JSON"),
        (lambda b: (b / "manifest.json").write_text("[]"), "not a manifest"),
        (lambda b: (b / "manifest.json").write_text('{"format": 1, "files": {}}'), "has no model.safetensors"),
        (lambda b: rename_in_manifest(b, "README.md", "../s.journal"), "outside"),
        (lambda b: rename_in_manifest(b, "README.md", "/etc/passwd"), "outside"),
        (lambda b: rename_in_manifest(b, "README.md", ".."), "outside"),
        (lambda b: rename_in_manifest(b, "README.md", ""), "outside"),
        (lambda b: rename_in_manifest(b, "README.md", "a\0b"), "outside"),
        (lambda b: (b / "model.safetensors").write_bytes(b"x"), "differs from its hash"),
        (lambda b: link(b, "model.safetensors"), "is a link"),
        (lambda b: link(b, "manifest.json"), "is a link"),
        (lambda b: ((b / "README.md").unlink(), os.mkfifo(b / "README.md")), "is missing"),
    ],
)
def test_a_changed_bundle_is_refused(bundle, spoil, said):
    load(bundle)
    spoil(bundle)
    with pytest.raises(ValueError, match=said):
        load(bundle)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "a\\b"])
def test_an_entry_of_a_zip_cannot_leave_it(trained, tmp_path, name):
    place = tmp_path / "x.zip"
    shutil.copy(trained, place)
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr(name, "x")
    with unchanged(tmp_path), pytest.raises(ValueError, match="outside the bundle"):
        load(place)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_damaged_or_ambiguous_zip_is_refused(trained, tmp_path):
    place = tmp_path / "x.zip"
    shutil.copy(trained, place)
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("model.safetensors", "x")
    with pytest.raises(ValueError, match=r"holds 'model.safetensors' twice"):
        load(place)
    data = bytearray(trained.read_bytes())
    with zipfile.ZipFile(trained) as archive:
        start = archive.getinfo("model.safetensors").header_offset + 5000
    data[start] ^= 1
    place.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        load(place)
    place.write_bytes(data[:1000])
    with pytest.raises(ValueError, match="not a zip of a bundle"):
        load(place)
    with pytest.raises(ValueError, match="is not an exported bundle"):
        load(tmp_path / "none")


def test_load_reads_no_pickle(trained, monkeypatch):
    import pickle

    def fail(*given, **named):
        raise AssertionError("a pickle was read")

    monkeypatch.setattr(pickle, "load", fail)
    monkeypatch.setattr(pickle, "loads", fail)
    monkeypatch.setattr(torch, "load", fail)
    monkeypatch.setattr(torch.export, "load", fail)
    load(trained)


def test_nir_is_refused_with_all_that_it_has_no_node_for(candidate):
    from autost_optuna.delivery.nir import inexpressible

    kinds = inexpressible(candidate.architecture, TASK)
    depth = candidate.architecture.depth
    products, pooling, neurons, mean = kinds.values()
    assert products == [f"blocks.{i}.attention.{name}" for i in range(depth) for name in ("qk", "av")]
    assert pooling == ["stem.conv2", "stem.conv4"]
    assert len(neurons) == 3 + 7 * depth
    assert mean == ["head"]
    nir = pytest.importorskip("nir")
    assert not [name for name in dir(nir) if "max" in name.lower() or "mul" in name.lower()]


def test_the_command_lists_what_it_wrote(search, candidate, told, trained, cli):
    first, head, *rows = told.splitlines()
    assert first.startswith(f"wrote {trained}: trial {candidate.number}, ")
    assert first.endswith(", trained weights")
    assert head.split()[:2] == ["file", "size"]
    assert {row.split()[0] for row in rows} == FILES | {"model.py"}
    words = ("export", search.study.study_name, "--trial", candidate.number, "--storage", search.storage, "-o")
    again = cli(*words, trained)
    assert (again.exit_code, len(again.stderr.splitlines())) == (2, 1)
    assert "exists and is not overwritten" in again.stderr
    refused = cli(*words, "out.zip", "--nir", "--quiet")
    assert (refused.exit_code, refused.stdout) == (2, "")
    *kinds, error = refused.stderr.splitlines()
    assert len(kinds) == 4
    assert error.startswith("error: NIR cannot express")
    assert not list(Path().iterdir())


def test_where_the_images_are_not_on_this_machine_noise_is_compared_on(search):
    images, source = autost_optuna.delivery.export._images(search.settings, {"data": "imagefolder"}, None)
    assert (tuple(images.shape), source) == ((8, 1, 8, 8), "noise, seed 0")
    assert images.std() > 0.5


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(autost_optuna.delivery.export, "__file__", str(tmp_path / "autost_optuna" / "export.py"))
    assert autost_optuna.delivery.export._commit() is None


@pytest.mark.slow
@pytest.mark.process
def test_loading_needs_none_of_the_writers(trained):
    program = f"""
import sys, autost_optuna
autost_optuna.load({str(trained)!r})
assert not {{"onnx", "onnxruntime", "onnxscript", "yaml"}} & set(sys.modules), sorted(sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
