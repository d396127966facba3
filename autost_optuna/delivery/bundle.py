"""A bundle on disk: a folder, or one .zip. Written completely or not at all, and read only if its hashes match."""

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

from autost_optuna.files import parse_json
from autost_optuna.training.checkpoint import BUNDLE, DAMAGED_ZIP, kind_of, make_folder
from autost_optuna.units import StrPath

MANIFEST = "manifest.json"
FORMAT = 1
NEW, OLD = "new", "old"  # in the folder of a running export: what it writes, and what that replaces
LARGEST_MANIFEST = 1 << 24  # bytes
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)  # errors from reading an entry of a zip
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold, so that the same files give the same zip


def zipped(path: Path) -> bool:
    """Whether a bundle with this name is one file."""
    return path.suffix.lower() == ".zip"


@contextlib.contextmanager
def placed(target: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` if the context succeeds, and otherwise leaves nothing.

    With `force`, a bundle or an empty folder with that name is replaced once the new one is complete. ValueError if anything
    else is there, or without `force`.
    """
    if target.name in ("", "..") or not target.name.isprintable():
        raise ValueError(f"{str(target)!r} is not a name for a new folder or .zip; choose another with -o")
    _sweep(target)
    _check_target(target, force)
    made = [parent for parent in target.parents if not parent.exists()]
    make_folder(target.parent)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # shows the next export that this one is alive
    try:
        new = work / NEW
        new.mkdir()
        yield new
        _check_target(target, force)
        if zipped(target):
            pack(new, work / target.name)
            _settle_file(work / target.name, target, force)
        else:
            _settle(new, target, force)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from None
    finally:
        _restore(work, target)
        os.close(handle)
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: it holds the bundle, or files of others
            for parent in made:
                parent.rmdir()


def _check_target(target: Path, force: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise ValueError(f"{target} exists and is not overwritten; choose another name with -o, or add --force")
    if target.is_symlink() or not _replaceable(target):
        raise ValueError(
            f"{target} is not an exported bundle, so --force does not replace it; choose another name with -o"
        )


def _replaceable(target: Path) -> bool:
    """Whether `target` is a bundle of that kind, or an empty folder."""
    if zipped(target):
        if not target.is_file() or not zipfile.is_zipfile(target):
            return False
        with zipfile.ZipFile(target) as archive:
            return MANIFEST in archive.namelist()
    return target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))


def _settle_file(packed: Path, target: Path, force: bool) -> None:
    """Give the zip its name; without `force` by a link, which fails if another export was faster."""
    if force:
        os.replace(packed, target)
        return
    try:
        os.link(packed, target)
    except FileExistsError:
        _check_target(target, force)
        raise
    except OSError:  # a file system without hard links
        os.rename(packed, target)


def _settle(new: Path, target: Path, force: bool) -> None:
    """Rename `new` to `target`, and move an existing one aside first."""
    if force and target.exists():
        os.rename(target, new.with_name(OLD))
    os.rename(new, target)  # an empty folder is replaced, any other raises OSError


def _restore(work: Path, target: Path) -> None:
    """Restore what an export moved aside but did not replace."""
    if (work / OLD).is_dir() and not target.exists():
        os.rename(work / OLD, target)


def _sweep(target: Path) -> None:
    """Clean up after killed exports to this name: nobody holds their lock."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.part-*"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if any(left.iterdir()):  # an empty one may be new and not locked yet
                    _restore(left, target)
                    shutil.rmtree(left)
            finally:
                os.close(handle)


def pack(folder: Path, path: Path) -> None:
    """Write the files of `folder` as one zip, uncompressed, because weights do not shrink."""
    names = sorted(file.name for file in folder.iterdir())
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, (folder / name).read_bytes())


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle whose files are those of its manifest."""

    path: Path
    manifest: dict[str, Any]
    archive: zipfile.ZipFile | None

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        names = [*self.manifest["files"], MANIFEST]
        if self.archive is not None:
            return {name: self.archive.getinfo(name).file_size for name in names}
        return {name: (self.path / name).stat().st_size for name in names}

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A file of the bundle on disk. ValueError if the bundle has none with that name."""
        if name not in self.manifest["files"]:
            raise ValueError(f"{self.path} has no {name} in its {MANIFEST}; export the network again")
        if self.archive is None:
            yield self.path / name
            return
        with tempfile.TemporaryDirectory() as folder, self.archive.open(name) as source:
            path = Path(folder) / name
            with path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            yield path


@contextlib.contextmanager
def opened(path: StrPath) -> Iterator[Bundle]:
    """The bundle at `path`, with every file checked against its hash. ValueError says what is missing, changed or outside."""
    path = Path(path)
    with contextlib.ExitStack() as stack:
        archive = None
        if path.is_file():
            if (kind := kind_of(path)) not in ("", BUNDLE, DAMAGED_ZIP):
                raise ValueError(f"{path} is {kind}, not an exported bundle; give the DIR or .zip of an export")
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
            except (zipfile.BadZipFile, OSError) as error:
                raise ValueError(f"{path} is not a zip of a bundle ({error}); export the network again") from None
            _check_entries(path, archive.namelist())
        manifest = _read_manifest(path, archive)
        for name, digest in manifest["files"].items():
            if not _plain(name):
                raise ValueError(
                    f"{path / MANIFEST} names the file {name!r} outside the bundle; do not use this bundle"
                )
            if _digest(path, archive, name) != digest:
                raise ValueError(f"{path / name} differs from its hash in {MANIFEST}; export the network again")
        yield Bundle(path=path, manifest=manifest, archive=archive)


def _plain(name: str) -> bool:
    """Whether a name is a plain file name in a bundle's own folder."""
    return (
        PurePath(name).name == name
        and name not in ("", ".", "..", MANIFEST)
        and "\\" not in name
        and name.isprintable()
    )


def _check_entries(path: Path, names: list[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{path} holds {name!r} twice; do not use this bundle")
        if name != MANIFEST and not _plain(name):
            raise ValueError(f"{path} holds {name!r}, outside the bundle; do not use this bundle")


def _read_manifest(path: Path, archive: zipfile.ZipFile | None) -> dict[str, Any]:
    place = path / MANIFEST
    try:
        with _open(path, archive, MANIFEST) as file:
            text = file.read(LARGEST_MANIFEST)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is not an exported bundle: it has no {MANIFEST}; give the DIR or .zip of an export"
        ) from None
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}); export the network again") from None
    try:
        manifest = parse_json(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON ({error}); export the network again") from None
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise ValueError(f"{place} is not a manifest of format {FORMAT}; export the network again")
    return manifest


def _digest(path: Path, archive: zipfile.ZipFile | None, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with _open(path, archive, name) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError:
        raise ValueError(f"{path / name} is missing; export the network again") from None
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}); export the network again") from None
    return digest.hexdigest()


def _open(path: Path, archive: zipfile.ZipFile | None, name: str) -> IO[bytes]:
    """A file of a bundle, opened for reading and never through a link. FileNotFoundError if it is missing."""
    if archive is None:
        place = path / name
        if place.is_symlink():
            raise ValueError(f"{place} is a link; copy the file itself into the bundle")
        if not place.is_file():
            raise FileNotFoundError(name)
        return place.open("rb")
    try:
        return archive.open(name)
    except KeyError:
        raise FileNotFoundError(name) from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or encrypted ({error}); export the network again") from None
