"""Finds quantized tensors, whose stored numbers are only half of what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from freezetui.checkpoint.types import TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.diff.matching import Pair
from freezetui.diff.raw import LAZY_BITS
from freezetui.diff.sums import Compared

#: The last segment of a tensor that a module's quantized weight is multiplied by.
_SCALE = re.compile("scale|SCB")
_NARROW = ("float8", "int8", "uint8")


def scaled_on_one_side(pairs: Iterable[Pair]) -> Set[str]:
    """Return the modules that have a scale in one of the checkpoints only, as after an export to float8."""
    return {
        module
        for pair in pairs
        if pair.before is None or pair.after is None
        for module, _, last in [pair.name.rpartition(".")]
        if _SCALE.search(last)
    }


def is_quantized_on_one_side(pair: Pair, modules: Set[str]) -> bool:
    """Whether only one side of a tensor is multiplied by a scale.

    Args:
        modules: see `scaled_on_one_side`.
    """
    if pair.before is None or pair.after is None or pair.name.rpartition(".")[0] not in modules:
        return False
    one, other = pair.before.dtype, pair.after.dtype
    return one.startswith(_NARROW) != other.startswith(_NARROW)


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
