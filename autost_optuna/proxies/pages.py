"""Memory that is freed and asked for again at once: kept by the process, where the C library is glibc.

Given back and asked for again, as glibc does with large tensors, each of its pages is fetched and filled with zeros anew by
the system. That took half the time of an evaluation and a third of a training step.
"""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Parameters of mallopt, from malloc.h, and glibc's own value of the last.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
DEFAULT_MMAP_MAX = 65536
KEPT = 1 << 28  # bytes


@functools.cache
def keep_pages() -> None:
    """From now on keep up to 256 MiB of freed memory, of tensors up to 32 MiB, the most that glibc lets one choose."""
    glibc = _glibc()
    if glibc is not None:
        glibc.mallopt(MMAP_THRESHOLD, 1 << 25)
        glibc.mallopt(TRIM_THRESHOLD, KEPT)


@contextmanager
def keeping_all_pages() -> Iterator[None]:
    """Within the context keep all freed memory, of tensors of any size: the steps of a training are all alike.

    Afterwards it is given back. Not for contexts within each other.
    """
    glibc = _glibc()
    if glibc is None:
        yield
        return
    glibc.mallopt(MMAP_MAX, 0)
    glibc.mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        glibc.mallopt(MMAP_MAX, DEFAULT_MMAP_MAX)
        glibc.mallopt(TRIM_THRESHOLD, KEPT)
        glibc.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    """The C library, None where it is another one."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version, library.mallopt, library.malloc_trim  # noqa: B018
    except (OSError, AttributeError, TypeError):
        return None
    library.malloc_trim.argtypes = [ctypes.c_size_t]
    return library
