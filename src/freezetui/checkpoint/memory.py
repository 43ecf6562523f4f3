"""The memory that this process uses, and that the machine has; memory outside the heap for large reads."""

from __future__ import annotations

import mmap
import os
from typing import Any

#: Smaller reads are bytes on the heap.
_MIN_MAPPED = 1 << 20

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident() -> int:
    """Return the resident memory of this process in bytes; 0 if the platform does not report it."""
    try:
        file = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(file, 100).split()[1]) * _PAGE
    finally:
        os.close(file)


def installed() -> float:
    """Return the machine's memory in bytes; infinite if the platform does not report it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def read_mapped(file: Any, length: int) -> bytes | mmap.mmap:
    """Return the next bytes of a file, fewer at its end; many of a local file as private, anonymous memory.

    It goes back to the system page by page, and leaves the heap as it is: after freeing an object of 10 MB,
    the C library would take all objects up to that size from the heap, and move them whenever they grow.
    """
    if length < _MIN_MAPPED or not hasattr(file, "readinto") or not hasattr(mmap, "MAP_PRIVATE"):
        return bytes(file.read(length))
    data = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    filled = 0
    with memoryview(data) as view:
        while filled < length and (count := file.readinto(view[filled:])):
            filled += count
    return data if filled == length else data[:filled]
