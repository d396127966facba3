"""Open an Optuna storage: a JournalFile for a path, a relational database or gRPC proxy for a URL."""

import functools
import os
import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.storage.location import PARTS, SQLITE_FILE, check_file, hide, readable_url, shown, why_read_only
from autost_optuna.storage.patience import Failure, Patience, make_patient
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage

LOCKED_S = 20  # SQLite's file is locked for milliseconds, during a copy for seconds
ANSWER_S = 60  # the longest that a gRPC server takes, for 100,000 trials
TABLES_TRIES = 20
_DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "pymysql": "PyMySQL", "MySQLdb": "mysqlclient"}


def open_storage(storage: StrPath, *, create: bool = False, write: bool = False) -> "BaseStorage":
    """Open the storage; a missing file is created only with `create`. ValueError says what is wrong with it.

    A read-only file can be read; with `write` it raises ValueError here, before anything is computed. With `write`, a journal
    whose last line is torn is fixed at once, not at the first write. Calls wait a bounded time for a server that becomes
    unavailable, and then raise RuntimeError.
    """
    storage = os.fspath(storage)
    check_file(storage, create=create, write=write)
    if "://" not in storage:
        return _journal(Path(storage), write=write)
    if storage.startswith("grpc://"):
        return _grpc(storage)
    return _relational(storage)


def _journal(path: Path, *, write: bool) -> "BaseStorage":
    from autost_optuna.storage.journal import JournalFile, check_journal, first_damage
    from autost_optuna.storage.view import Journal

    try:
        if path.exists():
            check_journal(path)
        file = JournalFile(path)
        if write:
            file.mend()
        return Journal(file)
    except OSError:
        raise
    except Exception as error:  # replaying the lines of another kind of file fails in many ways
        if damage := first_damage(path):
            command = units.command("study", "rescue", str(path), "-o", str(path.with_stem(f"{path.stem}-rescued")))
            raise ValueError(f"{path} is damaged: {damage}; {command} keeps its whole lines") from None
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{path} is not an Optuna journal ({reason}); give another file with --storage") from None


def _relational(storage: str) -> "BaseStorage":
    from optuna.storages import get_storage

    backend = get_storage(_open_relational(storage))
    return _reopened(storage, make_patient(backend, relational_patience(storage)))


def _reopened(storage: str, backend: "BaseStorage") -> "BaseStorage":
    """The same backend, opened again by another process or a copy: its patient methods cannot be pickled."""
    backend.__reduce_ex__ = lambda protocol: (open_storage, (storage,))  # type: ignore[method-assign]
    return backend


def relational_patience(storage: str) -> Patience:
    """Patience with the database at the URL `storage`."""
    return Patience(shown(storage), lambda error: _relational_failure(error, storage))


def relational(backend: "BaseStorage") -> "RDBStorage | None":
    """The database behind an opened storage, or None if it is not relational."""
    from optuna.storages import RDBStorage, _CachedStorage

    if isinstance(backend, _CachedStorage) and isinstance(backend._backend, RDBStorage):
        return backend._backend
    return None


def _open_relational(storage: str) -> "RDBStorage":
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    lite = storage.startswith("sqlite")
    options = {"connect_args": {"timeout": LOCKED_S}} if lite else {"pool_pre_ping": True}
    url = readable_url(storage)
    for attempt in range(TABLES_TRIES):
        try:
            # Optuna fills in {SCHEMA_VERSION}, and would fail on braces in a password.
            return RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=options)
        except Exception as error:  # drivers, servers and schema checks each raise their own errors
            # Two processes that open an empty database create its tables at once, and one of them fails.
            cause = error.__cause__ if isinstance(error.__cause__, IntegrityError) else error
            raced = isinstance(cause, (IntegrityError, OperationalError, ProgrammingError)) and (
                "already exists" in str(cause) or isinstance(cause, IntegrityError)
            )
            if not raced or attempt == TABLES_TRIES - 1:
                raise ValueError(_cannot_open(storage, error)) from None
            time.sleep(0.1)
    raise AssertionError


def _cannot_open(storage: str, error: Exception) -> str:
    missing = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
    if isinstance(missing, ModuleNotFoundError):
        package = _DRIVERS.get(missing.name or "", missing.name)
        return f"storage {shown(storage)} needs the package {missing.name}; install it with: pip install '{package}'"
    if not (PARTS.fullmatch(storage) or SQLITE_FILE.fullmatch(storage)):
        return (
            f"cannot read the storage {shown(storage)}; write URLs as postgresql+psycopg://user:password@host/database, "
            "with special characters percent-encoded, such as %40 for @"
        )
    reason = hide(str(error), storage) or type(error).__name__
    if why_read_only(storage):
        return (
            f"cannot read the storage {storage} where it cannot be written ({reason}); copy it, with the files of its "
            "name and -wal or -journal, to another folder"
        )
    return f"cannot open the storage {shown(storage)} ({reason}); check the URL and the server"


def _relational_failure(error: Exception, storage: str) -> Failure | None:
    """The message of a database driver in `error`, or None if it is not an error of a database."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(cause, SQLAlchemyError):
        return None
    said = str(cause.orig if isinstance(cause, DBAPIError) else cause)
    if storage.startswith("sqlite"):
        return Failure(reason=hide(said, storage), passing="locked" in said)
    cut = isinstance(cause, DBAPIError) and cause.connection_invalidated
    # Optuna retries within a transaction whose connection has ended: the third error.
    away = isinstance(cause, (OperationalError, InterfaceError, PendingRollbackError))
    return Failure(reason=hide(said, storage), passing=cut or away)


def _grpc(storage: str) -> "BaseStorage":
    where = re.fullmatch(r"grpc://([^:/?#@]+):(\d+)", storage)
    if where is None:
        raise ValueError(f"storage {shown(storage)} is not grpc://host:port, as in grpc://127.0.0.1:13000")
    try:
        import grpc
    except ModuleNotFoundError as error:
        raise ValueError(
            f"storage {storage} needs the package {error.name}; install it with: pip install 'autost-optuna[grpc]'"
        ) from None
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = GrpcStorageProxy(host=where[1], port=int(where[2]))
    try:
        proxy.wait_server_ready(timeout=10)
    except Exception:
        raise ValueError(f"no gRPC storage answers at {storage}; start one, or check host and port") from None
    for name, call in list(vars(proxy._stub).items()):  # a call ends even if the server hangs
        setattr(proxy._stub, name, functools.partial(call, timeout=ANSWER_S))

    def failure(error: Exception) -> Failure | None:
        if not isinstance(error, grpc.RpcError):
            return None
        away = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
        return Failure(reason=error.details() or error.code().name, passing=error.code() in away)

    return _reopened(storage, make_patient(proxy, Patience(storage, failure)))
