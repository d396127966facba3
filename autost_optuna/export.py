"""The bundle: a chosen network as a folder of plain files with a manifest of their hashes, and the way back, `load`."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from autost_optuna import checkpoint, units
from autost_optuna.candidate import Candidate
from autost_optuna.checkpoint import WEIGHTS
from autost_optuna.data import NORMALISATIONS
from autost_optuna.model.transformer import SpikingTransformer
from autost_optuna.settings import installed_versions
from autost_optuna.study import Search
from autost_optuna.task import Task

MANIFEST = "manifest.json"
FORMAT = 1


def export(search: Search, candidate: Candidate, folder: Path, *, weights: Path | None = None) -> Path:
    """Write the bundle of a candidate to `folder`, whole or not at all.

    `weights` is a training's checkpoint; without it the bundle holds the weights at initialisation, and says so.
    ValueError where the folder exists, or where the checkpoint is of another network.
    """
    if folder.name in ("", "..") or not folder.name.isprintable():
        raise ValueError(f"{str(folder)!r} is no name for a new folder; choose another with -o")
    if folder.exists() or folder.is_symlink():
        raise ValueError(f"{folder} exists and is not overwritten; choose another folder with -o, or delete it")
    network, training = _network(search, candidate, weights)
    checkpoint.make_folder(folder.parent)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(part, search, candidate, network, training)
        part.chmod(0o755)
        os.rename(part, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def load(folder: str | os.PathLike[str]) -> SpikingTransformer:
    """The network of an exported bundle, in eval mode; it reads images [B, *task.input_shape], normalised as the manifest says.

    All files are checked against the manifest's hashes before anything is read, and no pickle is loaded. ValueError says
    what is missing, changed or no part of a bundle.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    for name, digest in manifest["files"].items():
        if PurePath(name).name != name or name in (".", ".."):
            raise ValueError(f"{root / MANIFEST} names the file {name!r} outside the bundle; do not use this bundle")
        if not (root / name).is_file():
            raise ValueError(f"{root / name} is missing; export the network again")
        if _sha256(root / name) != digest:
            raise ValueError(f"{root / name} differs from its hash in {MANIFEST}; export the network again")
    if WEIGHTS not in manifest["files"]:
        raise ValueError(f"{root / MANIFEST} lists no {WEIGHTS}; export the network again")
    model, _ = checkpoint.load_network(root / WEIGHTS)
    return model


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a bundle."""
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{root} is no exported bundle: it has no {MANIFEST}; give the folder of an export") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); export the network again") from None
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise ValueError(f"{path} is not a manifest of format {FORMAT}; export the network again")
    return manifest


def _network(
    search: Search, candidate: Candidate, weights: Path | None
) -> tuple[SpikingTransformer, dict[str, Any] | None]:
    """The candidate's network and what its checkpoint says of its training; None where it is untrained."""
    task, seed = search.settings.task, search.settings.seed
    if weights is None:
        return SpikingTransformer(candidate.architecture, task, seed=seed).eval(), None
    network, info = checkpoint.load_trained(weights, candidate.architecture, task)
    return network, {"data": info["data"], "recipe": info["recipe"], **info["training"]}


def _write(
    part: Path, search: Search, candidate: Candidate, network: SpikingTransformer, training: dict[str, Any] | None
) -> None:
    import yaml

    settings = search.settings
    (part / "architecture.json").write_text(json.dumps(candidate.architecture.to_dict(), indent=2) + "\n")
    (part / "autost.yaml").write_text(yaml.safe_dump(candidate.architecture.to_autost(), sort_keys=False))
    checkpoint.save(part / WEIGHTS, network.state_dict(), checkpoint.describe_network(network))
    (part / "README.md").write_text(_card(search, candidate, training), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "files": {path.name: _sha256(path) for path in sorted(part.iterdir())},
        "versions": installed_versions(),
        "study": search.study.study_name,
        "trial": candidate.number,
        "task": asdict(settings.task),
        "seed": settings.seed,
        "data": {
            "name": settings.data,
            "images": settings.images,
            "seeds": settings.seeds,
            "fingerprint": settings.fingerprint,
        },
        "convention": {**settings.convention.to_dict(), "hash": settings.convention.hash},
        "normalisation": asdict(NORMALISATIONS[training["data"] if training else settings.data]),
        "candidate": candidate.to_dict(),
        "training": training,
    }
    (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _card(search: Search, candidate: Candidate, training: dict[str, Any] | None) -> str:
    """The model card."""
    settings, architecture = search.settings, candidate.architecture
    task: Task = settings.task
    if training:
        state = (
            f"trained for {units.counted(training['recipe']['epochs'], 'epoch')} on {training['data']}: "
            f"{training['validation_accuracy']:.2%} on its validation split, {training['test_accuracy']:.2%} on the test set"
        )
    else:
        state = f"untrained: weights at initialisation, seed {settings.seed}"
    rows = (
        ("architecture", f"`{architecture.to_text()}`"),
        ("task", f"{task.name}: {'x'.join(map(str, task.input_shape))}, {task.num_classes} classes"),
        ("time steps", str(task.time_steps)),
        ("parameters", f"{candidate.params:,}"),
        ("FLOPs an image", f"{candidate.flops:,} (2 x {candidate.macs:,} MACs, all time steps)"),
        ("energy an image", f"{units.energy(candidate.energy_mj)} ({candidate.convention}, estimated)"),
        ("weights", state),
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# Spiking transformer {architecture.key if architecture.depth <= 4 else architecture.key.split("-h")[0]}

Found by autost-optuna in study {search.study.study_name!r}, trial {candidate.number}.

| what | value |
| --- | --- |
{table}

The energy comes from spikes of untrained networks ({candidate.provenance}), under the convention whose prices are in
`{MANIFEST}`. It ranks architectures; it is not a measurement of the weights in this folder.

```python
from autost_optuna import load

network = load(".")  # checks every file against manifest.json
logits = network(images)  # float32 [B, {", ".join(map(str, task.input_shape))}], normalised as there
```
"""


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
