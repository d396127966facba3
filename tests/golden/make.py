"""Write the golden files of the version that is installed, and read them: what later versions must go on reading, bit for bit.

    python tests/golden/make.py FOLDER

FOLDER is new. `0.1.0` was written by commit 3387b0c on a CPU, x86-64, with torch 2.13.0. It is never written again: its
point is that another version wrote it.
"""

import gzip
import json
import os
import shutil
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autost_optuna import Objective, Space, Task
from autost_optuna.cli import main
from autost_optuna.data import Sample, rate_images
from autost_optuna.data import load as load_data
from autost_optuna.delivery.export import load
from autost_optuna.front.front import hypervolume, nondominated
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.rates import batch_statistics
from autost_optuna.search.settings import installed_versions
from autost_optuna.search.study import create, open_search
from autost_optuna.training.checkpoint import load_network
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.records import open_trained
from autost_optuna.training.resume import Stopped
from autost_optuna.training.trainer import train

STORAGE = "studies.journal"
PLAIN = "plain.journal"
SPACE = Space(name="golden", embed_dim=(16, 24), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0001")
# The bundle has one step and one small block: its program has a line for each operation of each step, and must stay small.
BUNDLED = Space(name="bundled", embed_dim=(16,), depth=(1,), num_heads=(2,), mlp_ratio=(1, 2))
BUNDLED_TASK = replace(TASK, time_steps=1)
PACKED = ("studies.db", "bundle.zip", PLAIN)  # with a .gz: all must stay under 1 MB
RECIPE = replace(Recipe.load("short"), epochs=2, images=200)


def run(*words: str) -> None:
    """Run a command of the command line, which must succeed."""
    with suppress(SystemExit):
        main(["-q", *words], standalone_mode=False)


def write(folder: Path) -> None:
    """Fill `folder`."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    create("golden", STORAGE, space=SPACE, task=TASK, population=6)
    run("study", "run", "golden", "--trials", "12", "--storage", STORAGE)
    run("study", "baseline", "golden", "C=16,depth=2,heads=2,ratio=2", "--storage", STORAGE)
    run("train", "golden", "--front", "2", "--epochs", "2", "--images", "200", "--storage", STORAGE)
    run("study", "copy", "golden", "--to", "sqlite:///studies.db", "--storage", STORAGE)
    write_plain()
    architecture = open_search("golden", STORAGE).front()[0].architecture
    with suppress(Stopped):  # after the first of two epochs
        train(architecture, TASK, load_data("digits", TASK), RECIPE, Path("interrupted"), stopped=lambda: True)
    create("bundled", "other.journal", space=BUNDLED, task=BUNDLED_TASK)
    run("study", "run", "bundled", "--trials", "1", "--storage", "other.journal")
    for bundle in ("bundle", "bundle.zip"):
        run("export", "bundled", "--trial", "0", "-o", bundle, "--storage", "other.journal")
    for path in (*Path().glob("other.*"), Path("studies.db.artifacts")):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    Path("expected.json").write_text(json.dumps(read(folder), indent=1) + "\n")
    for path in map(Path, PACKED):
        with gzip.GzipFile(f"{path}.gz", "wb", mtime=0) as packed:
            packed.write(path.read_bytes())
        path.unlink()


def write_plain() -> None:
    """Two studies of `Objective` in plain Optuna: alone, with a width from outside the space, and beside a user's own parts."""
    objective, storage = Objective(SPACE, Task.preset("digits")), JournalStorage(JournalFileBackend(PLAIN))
    study = optuna.create_study(study_name="plain", storage=storage, directions=["maximize", "minimize"])
    study.sampler = optuna.samplers.NSGAIISampler(population_size=6, seed=0)
    study.enqueue_trial({"embed_dim": 32, "depth": 1})
    study.optimize(objective, n_trials=12)

    def own(trial: optuna.Trial) -> tuple[float, ...]:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        return (*objective(trial), rate)

    study = optuna.create_study(study_name="own", storage=storage, directions=["maximize", "minimize", "minimize"])
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.optimize(own, n_trials=6)


def read(folder: Path) -> dict[str, Any]:
    """What is read from the unpacked files of `folder`, and what is measured again of what they hold, as JSON has it."""
    images = rate_images(TASK, Sample(images=4, seed=1), split="test").images
    found = {
        "versions": installed_versions(),
        "journal": read_search(str(folder / STORAGE)),
        "sqlite": read_search(f"sqlite:///{folder / 'studies.db'}"),
        "trained": read_trained(folder, images),
        "bundles": {name: logits(load(folder / name), images, trained=False) for name in ("bundle", "bundle.zip")},
    }
    return json.loads(json.dumps(found))


def read_search(storage: str) -> dict[str, Any]:
    """The trials of the search and its front; rates and logits of its networks, measured anew."""
    search, rates = open_search("golden", storage), Objective(SPACE, TASK).rates
    members, params = nondominated(search.candidates()), {t.number: t.params for t in search.study.trials}
    return {
        "front": [member.number for member in members],
        "hypervolume": hypervolume(members, search.settings.box),
        "trials": [
            {
                "key": candidate.architecture.key,
                "text": candidate.architecture.to_text(),
                "params": params[candidate.number],
                "candidate": candidate.to_dict(),
                "rates": rates.measure(candidate.architecture)[0],
            }
            for candidate in search.candidates()
        ],
    }


def read_trained(folder: Path, images: torch.Tensor) -> list[dict[str, Any]]:
    """The second study's records, with the logits of their networks, trained and as they were before."""
    found = []
    for one in open_trained(open_search("golden", str(folder / STORAGE))).all():
        network, _ = load_network(folder / "trained" / Path(one.path).name / "model.safetensors")
        untrained = SpikingTransformer(one.architecture, TASK, seed=one.seed)
        found.append(
            {
                "record": one.to_dict(),
                "logits": logits(network, images, trained=True),
                "initial_logits": logits(untrained, images, trained=False),
            }
        )
    return found


def logits(network: torch.nn.Module, images: torch.Tensor, *, trained: bool) -> list[list[float]]:
    """Logits [B][classes]; an untrained network's under batch statistics, since it is silent under its running ones."""
    network.eval()
    with torch.no_grad(), nullcontext() if trained else batch_statistics(network):
        return network(images).tolist()


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    write(Path(sys.argv[1]).resolve())
