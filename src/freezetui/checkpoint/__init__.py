"""Path to `Checkpoint`: reads headers only, runs nothing a file names, knows no torch."""

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.tensors import Checkpoint, Passed, Storage, TensorInfo

__all__ = ["Checkpoint", "Passed", "Storage", "TensorInfo", "open_checkpoint"]
