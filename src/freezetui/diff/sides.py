"""Opens one side of a diff: by a pattern of several files, or by the key that was given for the other."""

from __future__ import annotations

import os
from collections.abc import Callable

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.state_dict.ordering import natural_order
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError


def files_of(path: str) -> str | tuple[str, ...]:
    """Return the files that are one checkpoint if the path is a pattern such as `part-*.bin`, else the path.

    A shell expands a pattern unless it is in quotes.
    """
    if not set(path) & set("*?[") or is_url(path) or os.path.lexists(path):
        return path
    from glob import glob

    return tuple(natural_order(glob(path))) or path  # noqa: PTH207 (it may be absolute)


def open_side(path: str, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    """Open a checkpoint, by a key only if there is something to choose by it.

    Raises:
        CheckpointError: it cannot be read, or has no state_dict under the key.
    """
    if key is None:
        return open_checkpoint(files_of(path), progress=progress)
    try:
        return open_checkpoint(files_of(path), key=key, progress=progress)
    except CheckpointError:
        checkpoint = open_checkpoint(files_of(path), progress=progress)
        if {*checkpoint.choices} - {""}:
            raise
        return checkpoint
