"""Finds quantized tensors whose equal integers stand for other numbers."""

from __future__ import annotations

from freezetui.checkpoint.types import TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.diff.raw import LAZY_BITS
from freezetui.diff.sums import Compared


def is_rescaled(each: Compared, here: Weights, there: Weights) -> bool:
    """Whether the scales or the zero points of two quantized tensors of one dtype differ.

    Raises:
        CheckpointError: the file does not contain those of the channels.
    """
    one, other = (side.storage.read_as if side.storage else "" for side in (each.before, each.after))
    if each.is_cast or not one or not other or {one, other} & LAZY_BITS:
        return False
    channels, others = here.channels(each.before), there.channels(each.after)
    if channels is None or others is None:
        return one != other
    pairs = zip(channels[1:], others[1:], strict=True)
    return channels[0] != others[0] or any(
        (left.dtype, left.shape) != (right.dtype, right.shape) or _bytes(here, left) != _bytes(there, right)
        for left, right in pairs
    )


def _bytes(weights: Weights, info: TensorInfo) -> bytes:
    from freezetui.diff.values import values_of  # imports numpy

    values = values_of(weights, info)
    return values.chunk(0, values.elements).tobytes()
