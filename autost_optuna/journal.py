"""A journal that a killed writer cannot spoil: Optuna's, whose torn last line is cut off before anything is appended to it."""

import logging
import os
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock


class MendedJournal(JournalFileBackend):
    """Optuna's journal file, mended before each write.

    A process that is killed or meets a full disk while it writes leaves a line without an end. Optuna skips it when it
    reads, but would append to it, and no process could read the file any more.
    """

    def __init__(self, path: Path) -> None:
        # A lock is held for milliseconds. One of a killed process is taken over after 5 s instead of Optuna's 30. It is a
        # link to the journal, whose age tells when: relative to the link's folder, so that only a whole path leads there.
        self._link = JournalFileSymlinkLock(os.path.abspath(path), grace_period=5)
        super().__init__(str(path), lock_obj=self._link)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append to whole lines only."""
        self.mend()
        super().append_logs(logs)

    def mend(self) -> None:
        """Cut off a last line that does not end."""
        path = Path(self._file_path)
        with path.open("rb") as file:
            if not _torn(file):
                return
        self._link.acquire()
        try:
            with path.open("r+b") as file:
                torn = _torn(file)  # again, since a line that another process was just writing is complete by now
                file.truncate(file.seek(0, os.SEEK_END) - torn)
        finally:
            self._link.release()
        if torn:
            logging.getLogger("autost_optuna").warning("note: cut off %d bytes of a torn last line of %s", torn, path)


def _torn(file: BinaryIO) -> int:
    """Bytes after the last line end."""
    size = file.seek(0, os.SEEK_END)
    tail = b""
    while len(tail) < size and b"\n" not in tail:
        step = min(1 << 16 if tail else 1, size - len(tail))
        file.seek(size - len(tail) - step)
        tail = file.read(step) + tail
    return len(tail) - tail.rfind(b"\n") - 1
