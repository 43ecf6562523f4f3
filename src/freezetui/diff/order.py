"""The order of a checkpoint's tensors, where the file has lost it."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.recognition.catalog import in_module_order, recognize


def in_order(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its tensors as a known model registers them, buffers told from parameters."""
    tensors = in_module_order(checkpoint, recognize(checkpoint.tensors))
    return msgspec.structs.replace(checkpoint, tensors=tensors)
