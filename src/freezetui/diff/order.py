"""Restores the order of a checkpoint's tensors if the file format loses it."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.recognition.catalog import in_module_order, recognize


def in_order(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with its tensors in a known model's order, as parameters or buffers."""
    tensors = in_module_order(checkpoint, recognize(checkpoint.tensors))
    return msgspec.structs.replace(checkpoint, tensors=tensors)
