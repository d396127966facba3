"""Optuna's JournalFile, made robust: if a crash, a power cut or a full disk tears a line, later lines are not lost."""

import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

# A lock is held for milliseconds. The lock of a killed process is taken over after 5 s instead of Optuna's 30 s.
LOCK_S = 5
# Waiting for the disk takes most of the time. The end of a trial also waits for all lines before it, so these need not
# wait: a killed process loses none of them, and a power cut loses only those of unfinished trials.
UNSYNCED = {
    JournalOperation.CREATE_TRIAL,
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}

STUDY_OPERATIONS = frozenset(range(JournalOperation.DELETE_STUDY, JournalOperation.CREATE_TRIAL + 1))
TRIAL_OPERATIONS = frozenset(range(JournalOperation.SET_TRIAL_PARAM, JournalOperation.SET_TRIAL_SYSTEM_ATTR + 1))
TOGETHER = "lines without an end between them"
_BEGINNING = b'{"op_code":'
# A study and a trial on which each line is tried separately.
_SCRATCH: list[dict[str, Any]] = [
    {"op_code": 0, "worker_id": "", "study_name": "\0", "directions": [1]},
    {"op_code": 4, "worker_id": "", "study_id": 0, "datetime_start": None},
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A whole line of a journal: its number from 1, its text without the line end, and its parsed content."""

    number: int
    text: bytes
    log: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A damaged line: its number from 1, its first byte from 0, its text, and what is wrong with it."""

    number: int
    offset: int
    text: bytes
    fault: str

    def __str__(self) -> str:
        return f"line {self.number:,} (byte {self.offset:,}) is {self.fault}"


class JournalFile(JournalFileBackend):
    """Optuna's backend, with a file that ends with a whole line before and after each write, however the write ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A link to the journal, whose age shows whether its holder died. The link needs an absolute path.
        self.lock = JournalFileSymlinkLock(os.path.abspath(path), grace_period=LOCK_S)
        super().__init__(str(path), lock_obj=self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all lines, or none and raise OSError with the path. Ends of trials and lines of studies wait for the disk."""
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
        """Cut off a torn line at the end."""
        self.lock.acquire()
        try:
            with open(self.path, "r+b", buffering=0) as file:
                _hold(file)
                _mend(file, self.path)
        finally:
            self.lock.release()


def check_journal(path: Path) -> None:
    """Raise an error unless the file is empty or starts as a journal: Optuna would append to any other file."""
    with path.open("rb") as file:
        if file.read(6) == b"SQLite":
            raise ValueError(f"it is an SQLite database: write sqlite:///{path}")
    with path.open(encoding="utf-8") as file:
        first = file.readline(1 << 20)
    if first.endswith("\n"):
        json.loads(first)["op_code"]
    elif first.strip("\0") and not first.startswith('{"op_code":'[: len(first)]):  # or the first line is torn
        raise ValueError("its first line does not end")


def read_lines(path: Path) -> Iterator[Line | Damage]:
    """All lines of a journal. A line that contains a torn one and whole ones, as after a crash, is split."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip(b"\r\n")
            fault = "torn: it has no end" if not line.endswith(b"\n") else _fault(text)
            if fault:
                yield from _parts(text, number, offset, fault)
            else:
                yield Line(number=number, text=text, log=json.loads(text))
            offset += len(line)


def first_damage(path: Path) -> Damage | None:
    """The first damaged line of a journal; None if there is none, or if the file has no line of a journal."""
    damage, whole = None, False
    for item in read_lines(path):
        if isinstance(item, Line):
            whole = True
        elif damage is None:
            damage = item
        if whole and damage is not None:
            return damage
    return None


def _parts(text: bytes, number: int, offset: int, fault: str) -> Iterator[Line | Damage]:
    """The parts of a damaged line that begin as lines do: some of them may be whole."""
    begins = [match.start() for match in re.finditer(re.escape(_BEGINNING), text)]
    parts = [text[begin:end] for begin, end in zip([0, *begins], [*begins, len(text)], strict=True)]
    if len(begins) < 2 and begins in ([], [0]):
        yield Damage(number=number, offset=offset, text=text, fault=fault)
        return
    if not any(map(_fault, filter(None, parts))):
        yield Damage(number=number, offset=offset, text=b"", fault=f"{len(begins)} {TOGETHER}")
    for part in parts:
        if part and (wrong := _fault(part)):
            yield Damage(number=number, offset=offset, text=part, fault=wrong)
        elif part:
            yield Line(number=number, text=part, log=json.loads(part))
        offset += len(part)


def _fault(text: bytes) -> str:
    """What is wrong with a line, or "" if it is whole: Optuna itself applies it to a separate study and trial."""
    if not text.strip(b"\0 \t\r"):
        return "all zero bytes" if b"\0" in text else "empty"
    try:
        log = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg}, character {error.pos + 1})"
    except UnicodeDecodeError as error:
        return f"not text (byte {error.start + 1} of it)"
    try:
        operation, named = JournalOperation(log["op_code"]), dict.fromkeys(("study_id", "trial_id"), 0)
        for key, operations in (("study_id", STUDY_OPERATIONS), ("trial_id", TRIAL_OPERATIONS)):
            if operation in operations and not (type(log[key]) is int and log[key] >= 0):
                return f"no operation of Optuna's ({key} {log[key]!r})"
        if not isinstance(log["worker_id"], str) or not isinstance(log.get("study_name", ""), str):
            return "no operation of Optuna's (a name is no text)"
        JournalStorageReplayResult("").apply_logs([*_SCRATCH, {**log, **named}])
    except Exception as error:  # Optuna checks no values, so a wrong one fails in many ways
        return f"no operation of Optuna's ({type(error).__name__}: {str(error)[:60]})"
    return ""


def study_names(path: Path) -> list[str]:
    """Names of the studies in a journal. Reads only lines that create or delete studies, so any size is fast."""
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
    """Become the only writer on this machine until the file is closed or the process dies.

    The link alone can have two holders, who would write to the same place in the file: of two that wait for a dead holder's
    link, the second may take over the link that the first has just made, and on a busy machine a live holder can look dead.
    """
    with contextlib.suppress(OSError):  # a file system without such locks
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
    """The number of bytes up to the end of the last complete line without zero bytes, which a power cut leaves."""
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
