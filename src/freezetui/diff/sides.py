"""Opens one side of a diff by the key that was given for the other."""

from __future__ import annotations

from collections.abc import Callable

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError


def open_side(path: str, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    """Open a checkpoint, by a key only if there is something to choose by it.

    Raises:
        CheckpointError: it cannot be read, or has no state_dict under the key.
    """
    if key is None:
        return open_checkpoint(path, progress=progress)
    try:
        return open_checkpoint(path, key=key, progress=progress)
    except CheckpointError:
        checkpoint = open_checkpoint(path, progress=progress)
        if {*checkpoint.choices} - {""}:
            raise
        return checkpoint
