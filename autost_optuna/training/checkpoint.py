"""Save and load a network with its architecture and task: one safetensors file, with the description in its header.

Pickles are neither read nor written. A file is written under another name and renamed, so that it is never incomplete.
"""

import contextlib
import errno
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autost_optuna.data import NAMES
from autost_optuna.files import parse_json
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.network.weights import materialise
from autost_optuna.units import StrPath

HEADER = "autost_optuna"
WEIGHTS = "model.safetensors"
BUNDLE, SAFETENSORS, DAMAGED_ZIP = "an exported bundle", "a safetensors file", "a damaged zip"


def make_folder(folder: Path) -> None:
    """Make a writable folder. ValueError if that fails, before hours are spent on its contents."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise ValueError(f"cannot write to {folder} ({error.strerror}); choose another folder with -o") from None


def save(path: StrPath, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON description to `path`, completely or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        own = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
        save_file(own, part, metadata={HEADER: json.dumps(info)})
        part.chmod(0o644)
        with part.open("rb") as file:  # on the disk before it replaces the previous file
            os.fsync(file.fileno())
        os.replace(part, path)
    except SafetensorError as error:  # if the disk is full or the folder is not writable; the error number is lost
        found = re.search(r"os error (\d+)", str(error))
        code = int(found.group(1)) if found else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def load(path: StrPath) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file that `save` wrote. ValueError if it is missing, damaged or another kind of file."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}; train one, or check the path")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        if (kind := kind_of(path)) not in ("", SAFETENSORS):
            raise ValueError(
                f"{path} is {kind}, not a checkpoint; give the model.safetensors that train wrote"
            ) from None
        raise ValueError(f"{path} is truncated or not a safetensors file ({error}); train or export it again") from None
    if HEADER not in metadata:
        raise ValueError(
            f"{path} holds weights, but not their architecture; give a checkpoint that autost-optuna wrote"
        )
    try:
        info: dict[str, Any] = parse_json(metadata[HEADER])
    except ValueError as error:
        raise ValueError(f"{path} has a damaged description ({error}); train or export it again") from None
    if not isinstance(info, dict):
        raise ValueError(f"{path} has a damaged description (it is not a table); train or export it again")
    return tensors, info


def kind_of(path: Path) -> str:
    """What kind of file was given as a checkpoint or bundle, in words, judged by its content; "" if unknown.

    ValueError if it cannot be read.
    """
    names: list[str] = []
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
    except zipfile.BadZipFile:
        return DAMAGED_ZIP
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from None
    if not start:
        return "empty"
    if start[8:10] == b'{"':  # after the length of the header, which may begin like a pickle
        return SAFETENSORS
    if any(PurePath(name).name == "data.pkl" for name in names) or start.startswith(b"\x80"):
        return "a pickle that torch.save wrote (pickles can run programs, so none is read)"
    if "manifest.json" in names:
        return BUNDLE
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS (git lfs pull fetches the file)"
    return ""


def describe_network(model: SpikingTransformer) -> dict[str, Any]:
    """The part of a description that `load_network` needs."""
    return {"architecture": model.architecture.to_dict(), "task": asdict(model.task)}


def load_network(path: StrPath) -> tuple[SpikingTransformer, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its description. ValueError if the two do not fit."""
    tensors, info = load(path)
    try:
        model = SpikingTransformer(Architecture.from_dict(info["architecture"]), Task(**info["task"]), seed=None)
        materialise(model)
        model.load_state_dict(weights_of(tensors))
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} does not hold the weights of its architecture ({reason}); export it again") from None
    return model.eval(), info


def load_trained(
    path: StrPath, architecture: Architecture, task: Task | None = None
) -> tuple[SpikingTransformer, dict[str, Any]]:
    """The trained network of a checkpoint, or of the folder that holds it, and its description.

    ValueError if it is not a finished training, or has another architecture or (if one is given) another task.
    """
    path = Path(path) / WEIGHTS if Path(path).is_dir() else Path(path)
    network, info = load_network(path)
    if network.architecture != architecture:
        raise ValueError(
            f"{path} holds {network.architecture.to_text()}, not {architecture.to_text()}; give the checkpoint of this one"
        )
    if task is not None and network.task != task:
        raise ValueError(f"{path} was trained for task {network.task.name}, not for {task.name}; choose that task")
    if not isinstance(info.get("training"), dict) or not isinstance(info.get("recipe"), dict):
        raise ValueError(f"{path} holds no finished training; train it to the end, or leave out --checkpoint")
    if not isinstance(info.get("data"), str) or info["data"] not in NAMES:
        raise ValueError(f"{path} was trained on unknown data {info.get('data')!r}; train it again")
    if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
        raise ValueError(f"{path} holds weights that are not numbers; train it again at a lower rate")
    return network, info


def weights_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors from a file that may also hold those of its training, named optimizer.<...> and ema.<...>."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(("optimizer.", "ema."))}
