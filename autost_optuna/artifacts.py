"""Artifacts: files that belong to a study or trial, such as a learning curve, in a folder beside the storage;
optuna-dashboard shows them."""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.trial import FrozenTrial

from autost_optuna.storage import file_of


def folder_of(storage: str) -> Path | None:
    """The folder of a storage's artifacts, beside its file; None where it has none on this machine."""
    path = file_of(storage)
    return None if path is None else path.with_name(f"{path.name}.artifacts")


def store_of(storage: str, folder: Path | None = None) -> FileSystemArtifactStore | None:
    """The store that optuna-dashboard reads, of `folder` or the storage's own. ValueError where `folder` does not exist."""
    if folder is not None and not folder.is_dir():
        raise ValueError(
            f"no folder {folder} to read artifacts from; leave out --artifacts, or give the one of the training"
        )
    place = folder or folder_of(storage)
    if place is None:
        return None
    place.mkdir(exist_ok=True)  # the dashboard writes there too, where a person adds a file to a trial
    return FileSystemArtifactStore(place)


def upload(path: Path, study: optuna.Study, trial: FrozenTrial, folder: Path) -> None:
    """Keep a copy of the file `path` with an unfinished trial. OSError, with the folder, where that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = FileSystemArtifactStore(folder)
        upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial, storage=study._storage)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(error.filename or folder)) from None


def keep(name: str, content: str, study: optuna.Study, folder: Path) -> None:
    """Keep a text with a study as the file `name`, in place of what was kept under that name before."""
    store = FileSystemArtifactStore(folder)
    folder.mkdir(parents=True, exist_ok=True)
    attributes = study._storage.get_study_system_attrs(study._study_id)
    metas = [json.loads(value) for key, value in attributes.items() if key.startswith(ARTIFACTS_ATTR_PREFIX)]
    for meta in metas:
        if meta and meta["filename"] == name:  # null where a person deleted it in the dashboard
            store.write(meta["artifact_id"], io.BytesIO(content.encode()))
            return
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        path.write_text(content, encoding="utf-8")
        upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=study)


def artifacts_of(study: optuna.Study) -> list[str]:
    """The names under which the folder keeps the artifacts of a study and of all its trials."""
    attributes = [*study._storage.get_study_system_attrs(study._study_id)]
    attributes += (name for trial in study.get_trials(deepcopy=False) for name in trial.system_attrs)
    return [name.removeprefix(ARTIFACTS_ATTR_PREFIX) for name in attributes if name.startswith(ARTIFACTS_ATTR_PREFIX)]


def copy(artifacts: Iterable[str], source: Path | None, to: Path | None) -> int:
    """Copy artifacts from folder to folder, and return how many were not, as there is no such file or folder."""
    missing = 0
    for name in artifacts:
        if source is None or to is None or not (source / name).is_file():
            missing += 1
        elif source != to:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, to / name)
    return missing


def remove(artifacts: Iterable[str], folder: Path | None) -> None:
    """Remove artifacts from their folder, and the folder where none is left."""
    if folder is not None and folder.is_dir():
        for name in artifacts:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are left in it
            folder.rmdir()
