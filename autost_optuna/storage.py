"""A path or URL to an Optuna storage: JournalFile for a path, a relational database or a gRPC proxy for a URL."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

DEFAULT = "autost.journal"


def shown(storage: str) -> str:
    """The storage as it may be printed: without the password of a URL."""
    if "://" not in storage:
        return storage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return storage.partition("://")[0] + "://..."


def open_storage(storage: str, *, create: bool = False, write: bool = False) -> "BaseStorage":
    """Open the storage; a file that does not exist is made only with `create`. ValueError says what is wrong with it.

    Opened to `write`, a journal whose last line was torn by a crash or a full disk is mended before.
    """
    path = file_of(storage)
    if path is not None:
        _check_file(path, create=create)
    if "://" not in storage:
        return _journal(Path(storage), write=write)
    if storage.startswith("grpc://"):
        return _grpc(storage)
    return _relational(storage)


def file_of(storage: str) -> Path | None:
    """The file behind a storage, None where there is none on this machine."""
    if "://" not in storage:
        return Path(storage)
    if not storage.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        database = make_url(storage).database
    except ArgumentError:
        return None
    return Path(database) if database and database != ":memory:" else None


def _check_file(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise ValueError(f"storage {path} is a directory; give a file such as {path / DEFAULT}")
    if path.exists() and not path.is_file():
        raise ValueError(f"storage {path} is not a regular file; give a file such as {DEFAULT}")
    if path.exists():
        mode = "r+b"
    elif not create:
        raise ValueError(f"no storage at {path}; create a study first, or give --storage")
    elif not path.parent.is_dir():
        raise ValueError(f"cannot make the storage {path}: {path.parent} is no directory; create it or give --storage")
    else:
        mode = "xb"
    try:
        with path.open(mode):
            pass
        if mode == "xb":
            path.unlink()  # it was a test of the folder; the storage makes the file itself
    except OSError as error:
        raise ValueError(f"cannot write the storage {path} ({error.strerror}); give another with --storage") from None


def _journal(path: Path, *, write: bool) -> "BaseStorage":
    from optuna.storages import JournalStorage

    from autost_optuna.journal import MendedJournal

    try:
        if path.exists():
            _check_journal(path)
        journal = MendedJournal(path)
        if write:
            journal.mend()
        return JournalStorage(journal)
    except OSError:
        raise
    except Exception as error:  # a file of another kind makes the replay of its lines fail in many ways
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{path} is not an Optuna journal ({reason}); give another file with --storage") from None


def _check_journal(path: Path) -> None:
    """Any error unless the file is empty or starts as a journal: Optuna would append to a file of another kind."""
    with path.open(encoding="utf-8") as file:
        first = file.readline(1 << 20)
    if first:
        json.loads(first)["op_code"]


def _relational(storage: str) -> "BaseStorage":
    from optuna.storages import RDBStorage

    try:
        return RDBStorage(storage, engine_kwargs={"pool_pre_ping": not storage.startswith("sqlite")})
    except Exception as error:  # drivers, servers and schema checks each raise their own kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = reason.replace(storage, shown(storage))
        raise ValueError(f"cannot open the storage {shown(storage)} ({reason}); check the URL and the server") from None


def _grpc(storage: str) -> "BaseStorage":
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    host, colon, port = storage.removeprefix("grpc://").rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"storage {storage} is not grpc://host:port, as in grpc://127.0.0.1:13000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host, port=int(port))
    try:
        proxy.wait_server_ready(timeout=10)
    except Exception:
        raise ValueError(f"no gRPC storage answers at {storage}; start one, or check host and port") from None
    return proxy
