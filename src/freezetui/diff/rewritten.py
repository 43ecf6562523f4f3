"""Notices that a file was written to while it was read, or truncated, so that its map has no more bytes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from freezetui.checkpoint.sources.base import version_of_status
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError
from freezetui.text import printable

_AGAIN = "Something is still writing it: wait until that has finished, and try again."
TRUNCATED = f"A file was truncated while it was being read. {_AGAIN}"
#: What C has pointers to must not be freed.
_HANDLERS: list[object] = []


def refuse_rewritten(*checkpoints: Checkpoint) -> None:
    """Refuse what was read from files that have been written to since they were opened.

    A file that another one has taken the place of is still mapped as it was.

    Raises:
        CheckpointError: one of them has been.
    """
    for part in (part for checkpoint in checkpoints for part in checkpoint.parts):
        if not part.version or is_url(part.source):
            continue
        try:
            version = version_of_status(Path(part.source).stat())
        except OSError:
            continue
        if version != part.version and version.split("-")[:2] == part.version.split("-")[:2]:
            raise CheckpointError(f"{printable(part.source)} was written to while it was being read.", _AGAIN)


@contextmanager
def ending_if_truncated(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end` with a message if the bytes of a mapped file are gone when they are read.

    The kernel sends SIGBUS then. Python's own handlers run after the read, which would never return.

    Args:
        end: must end the process, or never return.
    """
    if sys.platform == "win32":
        yield
        return
    import ctypes

    library = ctypes.CDLL(None)
    library.signal.restype, library.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: end(TRUNCATED))
    _HANDLERS.append(handler)  # where two of these overlap, one may be set again after its end
    before = library.signal(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        library.signal(signal.SIGBUS, before)
