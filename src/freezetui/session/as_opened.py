"""Reads what a session opens, and looks whether it is still so on disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from freezetui.checkpoint.sources.base import version_of_status
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import fingerprint
from freezetui.errors import FreezeTuiError
from freezetui.session.options import Options

#: Files of a checkpoint that are looked at for changes.
_MAX_LOOKED_AT = 8


def read(options: Options, progress: Callable[[str], None] = lambda text: None) -> Checkpoint:
    """Read the checkpoint that the options name; see `open_checkpoint`."""
    from freezetui.checkpoint.open import open_checkpoint  # not needed where a child has read it

    return open_checkpoint(options.sources, key=options.key, progress=progress)


def has_changed(checkpoint: Checkpoint) -> bool:
    """Whether a file of the checkpoint has been written to or replaced since it was opened."""
    for part in checkpoint.parts[:_MAX_LOOKED_AT]:
        try:
            if not part.version or is_url(part.source):
                continue
            if version_of_status(os.stat(part.source)) != part.version:  # noqa: PTH116
                return True
        except OSError:
            return True
    return False


def why_not_as_opened(options: Options, checkpoint: Checkpoint) -> str:
    """Return how names or shapes on disk differ from those of `checkpoint`; "" if they do not."""
    changed = f"{options.source} has changed since it was opened"
    try:
        now = read(options)
    except FreezeTuiError as error:
        return f"{changed}: {error.message}"
    if fingerprint(now.tensors) == fingerprint(checkpoint.tensors):
        return ""
    return f"{changed}: its names or shapes are different now. Open it again to plan for them."
