"""The location of a storage, a file or URL: how to print it, and whether it can be read and written."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_plus, urlsplit

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DEFAULT = "autost.journal"
# The parts of an unambiguous URL: a password that contains "@" or "/" would be cut in two.
PARTS = re.compile(
    r"(?P<scheme>[\w+]+)://(?:(?P<user>[^:/?#@]*)(?::(?P<password>[^/?#@]*))?@)?"
    r"(?P<place>(?:\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::\d*)?(?:/[^?#@]*)?)(?:\?(?P<query>[^#@]*))?"
)
SQLITE_FILE = re.compile(r"sqlite(\+pysqlite)?:///.*", re.DOTALL)
_NO_PATH = re.compile(r"^\w{2,}(\+\w+)?:/|^\w+\+\w+//|:[^/]*@")  # a URL without its "://", or user:password@host
_SECRET = re.compile(r"(?i)((?:^|[&;])[^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*=)([^&;]*)")


def shown(storage: str) -> str:
    """The storage in a form that is safe to print: without the passwords of a URL, and without anything that may be one."""
    if "://" not in storage or SQLITE_FILE.fullmatch(storage):
        return storage
    parts = PARTS.fullmatch(storage)
    if parts is None:
        return storage.partition("://")[0] + "://..."
    user = "" if parts["user"] is None else parts["user"] + ("" if parts["password"] is None else ":***") + "@"
    query = "" if parts["query"] is None else "?" + _SECRET.sub(r"\1***", parts["query"])
    return f"{parts['scheme']}://{user}{parts['place']}{query}"


def hide(text: str, storage: str) -> str:
    """The first line of `text` without the passwords in the URL `storage`; "..." if these cannot be identified."""
    line = (text.replace(storage, shown(storage)).splitlines() or [""])[0]
    if SQLITE_FILE.fullmatch(storage):
        return line
    parts = PARTS.fullmatch(storage)
    if parts is None:
        return "..."
    secrets = [parts["password"] or "", *(value for _, value in _SECRET.findall(parts["query"] or ""))]
    forms = {form for secret in secrets for form in (secret, unquote(secret), unquote_plus(secret)) if form}
    for form in sorted(forms, key=len, reverse=True):
        line = line.replace(form, "***")
    return line


def file_of(storage: str) -> Path | None:
    """The file behind a storage, or None if there is none on this machine.

    ValueError if the storage is empty, a malformed URL, or a database in memory, which would not last.
    """
    if not storage.strip():
        raise ValueError(f"the storage is empty; give a file such as {DEFAULT}, or a URL")
    if "://" not in storage and storage.strip() != ":memory:":
        if _NO_PATH.search(storage):  # it may hold a password, so it is not repeated
            raise ValueError(
                "the storage is neither a file nor a URL; write one as postgresql+psycopg://USER:PASSWORD@HOST/DB"
            )
        return Path(storage)
    url = _sqlite(storage)
    database = _database(url) if url is not None else storage.strip()
    if database in ("", ":memory:"):
        raise ValueError(
            f"the storage {shown(storage)} is in memory, and gone when the command ends; give a file, such as "
            "sqlite:///autost.db"
        )
    return None if url is None else Path(database)


def _database(url: "URL") -> str:
    """The path in the URL of an SQLite database, which may be a URI; empty or :memory: if it is not in a file."""
    if url.query.get("mode") == "memory" or url.query.get("vfs") == "memdb":
        return ""
    name = (url.database or "").strip()
    return unquote(urlsplit(name).path) if _is_uri(url) and name.startswith("file:") else name


def _sqlite(storage: str) -> "URL | None":
    """The parts of the URL of an SQLite database, or None for any other."""
    if not storage.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage)
    except ArgumentError:
        return None


def _is_uri(url: "URL") -> bool:
    """Whether SQLite reads the database's name as a URI, as in sqlite:///file:FILE?mode=ro&uri=true."""
    from sqlalchemy.util import asbool

    return asbool(url.query.get("uri", False))


def why_read_only(storage: str) -> str:
    """Why the file of a storage is read-only; empty if it is writable, does not exist, or is not a file on this machine."""
    path, url = file_of(storage), _sqlite(storage)
    if path is None or not path.exists():
        return ""
    if url is not None and _is_uri(url):
        for key, value in (("mode", "ro"), ("immutable", "1")):
            if url.query.get(key) == value:
                return f"its URL says {key}={value}"
    try:
        with path.open("r+b"):
            pass
    except OSError as error:
        return error.strerror or type(error).__name__
    folder = (
        path.absolute() if url is None else path.resolve()
    ).parent  # the folder also needs room for a lock, or for SQLite's own journal
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"its folder {folder} is not writable"


def check_file(storage: str, *, create: bool = False, write: bool = False) -> None:
    """ValueError if the file of a storage does not exist, cannot be read or, if `write`, cannot be written.

    With `create` it need not exist, if it can be created.
    """
    path = file_of(storage)
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"storage {path} is a directory; give a file such as {path / DEFAULT}")
    if path.exists() and not path.is_file():
        raise ValueError(f"storage {path} is not a regular file; give a file such as {DEFAULT}")
    if not path.exists():
        if not create:
            raise ValueError(f"no storage at {path}; create a study first, or give --storage")
        if not path.parent.is_dir():
            raise ValueError(
                f"cannot make the storage {path}: {path.parent} is not a directory; create it or give --storage"
            )
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ValueError(f"cannot make the storage {path}: {path.parent} is not writable; give another --storage")
        return  # the storage creates the file itself: two processes may do so at once
    if write and (reason := why_read_only(storage)):
        raise ValueError(f"cannot write the storage {path} ({reason}); give another with --storage")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"cannot read the storage {path} ({error.strerror}); give another with --storage") from None


def readable_url(storage: str) -> str:
    """The URL for reading an SQLite file, which differs if it has a write-ahead log and is not writable.

    SQLite reads such a file through a -shm file beside it. If that is missing and cannot be made, nobody writes to the
    database, so it can be read directly.
    """
    path, url = file_of(storage), _sqlite(storage)
    if path is None or url is None or not why_read_only(storage):
        return storage
    log, shared = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    with path.open("rb") as file:
        ahead = file.read(20)[18:] == b"\2\2"  # https://www.sqlite.org/fileformat2.html#file_format_version_numbers
    if not ahead or shared.exists() or (log.exists() and log.stat().st_size):
        return storage
    fixed = url.set(database="file:" + quote(str(path.resolve()))).update_query_dict({"immutable": "1", "uri": "true"})
    return fixed.render_as_string(hide_password=False)
