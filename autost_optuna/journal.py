"""Optuna's JournalFile, kept whole: torn by a crash, a power cut or a full disk, it would lose all that is appended."""

import contextlib
import fcntl
import json
import logging
import os
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation

# A lock is held for milliseconds. One of a killed process is taken over after 5 s instead of Optuna's 30.
LOCK_S = 5
# Waiting for the disk takes most of the time. The end of a trial waits for all lines before it too, so these need not: a
# killed process loses none of them, a power cut only those of unfinished trials.
UNSYNCED = {
    JournalOperation.CREATE_TRIAL,
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}


class JournalFile(JournalFileBackend):
    """Optuna's backend, whose file ends with a whole line before and after each write, however the write ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A link to the journal, whose age tells when a holder died: from the link's folder, only a whole path leads there.
        self.lock = JournalFileSymlinkLock(os.path.abspath(path), grace_period=LOCK_S)
        super().__init__(str(path), lock_obj=self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all lines, or none and OSError with the path; what ends a trial or is of a study waits for the disk."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self.lock.acquire()
        try:
            with open(self.path, "r+b", buffering=0) as file:
                _hold(file)
                _mend(file, self.path)
                _write_whole(file, lines, sync=any(log["op_code"] not in UNSYNCED for log in logs))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        finally:
            self.lock.release()

    def mend(self) -> None:
        """Cut off what is torn at the end."""
        self.lock.acquire()
        try:
            with open(self.path, "r+b", buffering=0) as file:
                _hold(file)
                _mend(file, self.path)
        finally:
            self.lock.release()


def check_journal(path: Path) -> None:
    """Any error unless the file is empty or starts as a journal: Optuna would append to a file of another kind."""
    with path.open("rb") as file:
        if file.read(6) == b"SQLite":
            raise ValueError(f"it is an SQLite database: write sqlite:///{path}")
    with path.open(encoding="utf-8") as file:
        first = file.readline(1 << 20)
    if first.endswith("\n"):
        json.loads(first)["op_code"]
    elif first.strip("\0") and not first.startswith('{"op_code":'[: len(first)]):  # or the first line is torn
        raise ValueError("its first line does not end")


def study_names(path: Path) -> list[str]:
    """Names of the studies in a journal, read from the lines that make and delete studies alone: a glance at any size."""
    names: dict[int, str] = {}
    made = 0
    with path.open("rb") as file:
        for line in file:
            if line.startswith((b'{"op_code":0,', b'{"op_code":1,')):
                log = json.loads(line)
                if log["op_code"] == JournalOperation.DELETE_STUDY:
                    names.pop(log["study_id"], None)
                elif log["study_name"] not in names.values():
                    names[made] = log["study_name"]
                    made += 1
    return sorted(names.values())


def _hold(file: FileIO) -> None:
    """Be the only writer of this machine until the file is closed or the process dies.

    The lock that is a link can have two holders: of two that wait for a dead one's, the second may take over what the first has
    just made, and on a busy machine a living holder can be taken for dead. Both would write at one place of the file.
    """
    with contextlib.suppress(OSError):  # a file system that has no such locks
        fcntl.flock(file, fcntl.LOCK_EX)


def _write_whole(file: FileIO, lines: bytes, *, sync: bool) -> None:
    start = file.seek(0, os.SEEK_END)
    try:
        written = 0
        while written < len(lines):
            written += file.write(lines[written:])
        if sync:
            os.fsync(file.fileno())
    except BaseException:
        file.truncate(start)
        raise


def _mend(file: FileIO, path: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    whole = _whole(file, size)
    if whole < size:
        file.truncate(whole)
        note = "note: cut off %d bytes of a torn last line of %s"
        logging.getLogger("autost_optuna").warning(note, size - whole, path)


def _whole(file: FileIO, size: int) -> int:
    """Bytes up to the end of the last line that ends and has no zero bytes, which a power cut leaves."""
    step = 1 << 12
    while True:
        start = max(0, size - step)
        file.seek(start)
        tail = file.read(size - start)
        end = tail.rfind(b"\n") + 1
        while end:
            begin = tail.rfind(b"\n", 0, end - 1) + 1
            if begin == 0 and start > 0:
                break
            if b"\0" not in tail[begin:end]:
                return start + end
            end = begin
        if start == 0:
            return 0
        step *= 4
