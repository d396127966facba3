"""Artifacts: files of a study or trial, such as a learning curve, in a folder beside the storage; optuna-dashboard shows
them."""

import contextlib
import json
import mimetypes
import secrets
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.trial import FrozenTrial

from autost_optuna.storage.location import file_of
from autost_optuna.units import StrPath

FIGURE = "dashboard:plot_data:"  # the prefix that optuna-dashboard gives a figure's attributes
FIGURES = ("front", "hypervolume", "genes", "stages", "trained")


def folder_of(storage: str) -> Path | None:
    """The folder of a storage's artifacts, beside its file; None if the storage has no file on this machine."""
    path = file_of(storage)
    return None if path is None else path.with_name(f"{path.name}.artifacts")


def store_of(storage: str, folder: StrPath | None = None) -> FileSystemArtifactStore | None:
    """The store that optuna-dashboard reads, in `folder` or in the storage's own folder; None if there is no folder.

    ValueError if `folder` does not exist.
    """
    folder = None if folder is None else Path(folder)
    if folder is not None and not folder.is_dir():
        raise ValueError(
            f"no folder {folder} to read artifacts from; leave out --artifacts, or give the one of the training"
        )
    place = folder or folder_of(storage)
    if place is None:
        return None
    with contextlib.suppress(OSError):  # the dashboard writes there as well, when a person attaches a file to a trial
        place.mkdir(exist_ok=True)
    return FileSystemArtifactStore(place) if place.is_dir() else None


def upload(path: Path, study: optuna.Study, trial: FrozenTrial, folder: Path) -> None:
    """Store a copy of the file `path` with an unfinished trial. OSError names the folder if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = FileSystemArtifactStore(folder)
        upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial, storage=study._storage)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(error.filename or folder)) from None


def keep_artifact(name: str, content: str, study: optuna.Study, folder: Path) -> None:
    """Store a text with a study as its file `name`, replacing an earlier one."""
    place = folder / _own(name, study)
    folder.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        part.write_text(content, encoding="utf-8")
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    meta = json.dumps({"artifact_id": place.name, "filename": name, "mimetype": kind, "encoding": None})
    key = f"{ARTIFACTS_ATTR_PREFIX}{place.name}"
    if study._storage.get_study_system_attrs(study._study_id).get(key) != meta:
        study._storage.set_study_system_attr(study._study_id, key, meta)


def _own(name: str, study: optuna.Study) -> str:
    """The name of a study's own file in the folder: always the same, so that two processes write one file."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{study.study_name}/{name}"))


def artifacts_of(study: optuna.Study, *, own: bool = True) -> list[str]:
    """The file names of the artifacts of a study and all its trials, with or without the study's `own` files."""
    attributes = [*study._storage.get_study_system_attrs(study._study_id).items()]
    attributes += (pair for trial in study.get_trials(deepcopy=False) for pair in trial.system_attrs.items())
    left_out = () if own else own_artifacts(study)
    ours = [(name, value) for name, value in attributes if name.startswith(ARTIFACTS_ATTR_PREFIX)]
    names = [name for name, value in ours if json.loads(value)]  # null: deleted in the dashboard
    return [name.removeprefix(ARTIFACTS_ATTR_PREFIX) for name in names if name not in left_out]


def own_artifacts(study: optuna.Study) -> list[str]:
    """The attributes of the files that `keep` stores with a study, and of the figures that are redrawn with them."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    files = [(name, json.loads(value)) for name, value in attributes.items() if name.startswith(ARTIFACTS_ATTR_PREFIX)]
    own = [name for name, file in files if file and name == f"{ARTIFACTS_ATTR_PREFIX}{_own(file['filename'], study)}"]
    return own + [name for name in attributes if name.startswith(tuple(f"{FIGURE}{figure}:" for figure in FIGURES))]


def copy(artifacts: Iterable[str], source: Path | None, to: Path | None) -> int:
    """Copy artifacts between folders. Returns how many were not copied because the file or folder is missing."""
    missing = 0
    for name in artifacts:
        if source is None or to is None or not (source / name).is_file():
            missing += 1
        elif source != to:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, to / name)
    return missing


def remove(artifacts: Iterable[str], folder: Path | None) -> None:
    """Remove artifacts from their folder, and the folder if it is then empty."""
    if folder is not None and folder.is_dir():
        for name in artifacts:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder is not empty
            folder.rmdir()
