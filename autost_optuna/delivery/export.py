"""Export a chosen network as a bundle: plain files with a manifest of hashes, in a folder or one .zip; `load` reads it."""

import json
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna import units
from autost_optuna.data import NORMALISATIONS, Sample, rate_images
from autost_optuna.delivery import standalone
from autost_optuna.delivery.bundle import FORMAT, MANIFEST, opened, placed, sha256
from autost_optuna.delivery.card import write_card
from autost_optuna.delivery.graphs import check_alive, write_onnx, write_program
from autost_optuna.front.candidate import Candidate
from autost_optuna.front.picks import Pick
from autost_optuna.moved import regrouped
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.energy import charge_rows
from autost_optuna.search.bills import bills_of, charges_of, known_rows
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Settings, installed_versions
from autost_optuna.training import checkpoint
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from torch import Tensor

WRITERS = ("onnx", "onnxruntime", "onnxscript", "safetensors")
CHECKED = 8  # images for comparing the graphs with the network


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """The contents of a bundle that the caller chooses.

    `weights` is a training's checkpoint; without it the bundle holds the weights at initialisation, and says so. `plain` adds
    model.py.
    """

    weights: StrPath | None = None
    plain: bool = False


UNTRAINED = Contents()


@regrouped(contents=Contents)
def export(
    search: Search,
    candidate: Candidate,
    target: StrPath,
    contents: Contents = UNTRAINED,
    *,
    force: bool = False,
    data_root: StrPath | None = None,
) -> Path:
    """Write the bundle of a candidate to `target`, a folder or FILE.zip, completely or not at all.

    `force` replaces an existing bundle; `data_root` is the folder of the images, if they have moved. If the study's images
    are missing, audit.csv leaves the cost of spikes open, and the card says so.
    ValueError if the target exists, or the checkpoint belongs to another network; RuntimeError if ONNX or torch.export do
    not reproduce the network's logits.
    """
    target = Path(target)
    with placed(target, force=force) as folder:
        _write(folder, search, candidate, contents, data_root)
    return target


def load(path: StrPath) -> SpikingTransformer:
    """The network of an exported bundle, in eval mode, for images [B, *task.input_shape] normalised as the manifest says.

    `path` is a folder or a .zip. All files are checked against the manifest's hashes before anything is read, and no pickle
    is loaded. ValueError says what is missing, changed or not part of a bundle.
    """
    with opened(path) as bundle, bundle.file(WEIGHTS) as weights:
        model, _ = checkpoint.load_network(weights)
        return model


def _network(
    search: Search, candidate: Candidate, weights: StrPath | None
) -> tuple[SpikingTransformer, dict[str, Any] | None]:
    """The candidate's network and the training in its checkpoint, or None if it is untrained."""
    task, seed = search.settings.task, search.settings.seed
    if weights is None:
        return SpikingTransformer(candidate.architecture, task, seed=seed).eval(), None
    network, info = checkpoint.load_trained(weights, candidate.architecture, task)
    said = {name: info[name] for name in ("data", "data_fingerprint", "recipe")}
    return network, {**said, **info["training"]}


def _write(folder: Path, search: Search, candidate: Candidate, contents: Contents, data_root: StrPath | None) -> None:
    """Write the files of a bundle to `folder`, the manifest with their hashes last."""
    import yaml

    network, training = _network(search, candidate, contents.weights)
    settings, architecture = search.settings, candidate.architecture
    normalisation = NORMALISATIONS[training["data"] if training else settings.data]
    (folder / "architecture.json").write_text(json.dumps(architecture.to_dict(), indent=2) + "\n")
    if architecture.is_autost:
        (folder / "autost.yaml").write_text(yaml.safe_dump(architecture.to_autost(), sort_keys=False))
    checkpoint.save(folder / WEIGHTS, network.state_dict(), checkpoint.describe_network(network))
    rows, audited = _audit(search, candidate, training, data_root)
    (folder / "audit.csv").write_text(units.csv_text(rows), encoding="utf-8")
    images, source = _images(settings, training, data_root)
    write_program(network, images, folder / "model.pt2")
    parity = write_onnx(network, images, source, folder / "model.onnx")
    alive = None if training else check_alive(folder / "model.onnx", network, images, source)
    if contents.plain:
        text = standalone.write_model(architecture, settings.task, normalisation)
        (folder / standalone.NAME).write_text(text, encoding="utf-8")
    card = write_card(search, candidate, training, alive or parity, standalone=contents.plain, audited=audited)
    (folder / "README.md").write_text(card, encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        "versions": {**installed_versions(), **{name: version(name) for name in WRITERS}},
        "study_versions": settings.versions,
        "git_commit": _commit(),
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
        "normalisation": asdict(normalisation),
        "candidate": candidate.to_dict(),
        "audited": audited,
        "training": training,
        "onnx": asdict(parity),
        "onnx_alive": asdict(alive) if alive else None,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _audit(
    search: Search, candidate: Candidate, training: dict[str, Any] | None, data_root: StrPath | None
) -> tuple[list[dict[str, Any]], bool]:
    """The rows of the audit, and whether they are complete.

    They use the rates of the trained network on its validation images, or those at initialisation on the search's images. If
    these are neither on this machine nor in `data_root`, the effects of spikes stay open.
    """
    if training:
        return charge_rows(charges_of(candidate.architecture, search.settings, training["measured"]["rates"])), True
    picks = [Pick(names=("exported",), candidate=candidate)]
    try:
        bill = bills_of(search, picks, data_root, any_versions=True)[0]  # the manifest names both versions
    except ValueError:
        if data_root is not None:
            raise
        return known_rows(candidate, search.settings), False
    return charge_rows(bill.charges), True


def _images(settings: Settings, training: dict[str, Any] | None, data_root: StrPath | None) -> "tuple[Tensor, str]":
    """Test images [B, *task.input_shape] for the comparison, or noise if this machine lacks them; and their description."""
    import torch

    data = training["data"] if training else settings.data
    own = Path(settings.data_root) if settings.data_root and data == settings.data else None
    root = data_root or own
    sample = Sample(data=data, data_root=root, images=CHECKED, seed=settings.seed)
    try:
        drawn = rate_images(settings.task, sample, split="test")
    except ValueError:
        generator = torch.Generator().manual_seed(settings.seed)
        return torch.randn(CHECKED, *settings.task.input_shape, generator=generator), f"noise, seed {settings.seed}"
    return drawn.images, f"test images of {data}, seed {settings.seed}"


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, with -dirty if it has changes; None without a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
