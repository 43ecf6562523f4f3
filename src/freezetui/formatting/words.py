"""Words for what cannot train."""

from __future__ import annotations

from freezetui.checkpoint.types import TensorInfo


def untrainable_word(tensor: TensorInfo | None) -> str:
    """Return "stats", "buffer" or "other" for a tensor that cannot train; None is a module of such."""
    if tensor is not None and tensor.is_statistic:
        return "stats"
    return "buffer" if tensor is None or tensor.kind == "buffer" else "other"
