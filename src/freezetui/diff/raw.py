"""Reads the bytes of a tensor in place, and compares two runs of bytes. Does not import numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod

from freezetui.checkpoint.storage import Weights
from freezetui.checkpoint.types import ITEMSIZE, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: Up to this many bytes, a copy and a comparison are faster than a call through ctypes.
_FEW = 1 << 14


def raw_of(weights: Weights, info: TensorInfo) -> memoryview | None:
    """Return the bytes of a tensor that is one contiguous block; None for any other.

    Raises:
        CheckpointError: the file does not contain all of them.
    """
    itemsize = ITEMSIZE.get(info.dtype)
    storage = info.storage
    if info.packing is not None or itemsize is None or (storage is not None and storage.stride is not None):
        return None
    pieces = weights.pieces(info)
    if pieces:
        from freezetui.checkpoint.formats.dcp_pieces import are_rows  # of distributed checkpoints alone

        if len(pieces) > 1 or not are_rows(pieces, info.shape):
            return None
    raw = pieces[0].raw if pieces else weights.storage(info)
    start = storage.offset * itemsize if storage is not None else 0
    stop = start + prod(info.shape) * itemsize
    if stop > len(raw):
        raise reaches_beyond(info, len(raw) // itemsize)
    return raw[start:stop]


def reaches_beyond(info: TensorInfo, stored: int) -> CheckpointError:
    """Return the error for a tensor larger than its `stored` elements."""
    return CheckpointError(
        f"{printable(info.name)} reaches beyond its {stored:,} stored elements.",
        "The file is corrupt; download it again.",
    )


def same_bytes(one: memoryview, other: memoryview) -> bool:
    """Whether two runs of bytes of one length are the same.

    Uses memcmp, which releases the GIL and does not need numpy. ctypes requires writable memory, such as the
    private maps.
    """
    if len(one) <= _FEW or one.readonly or other.readonly:
        return bytes(one) == bytes(other)
    return _memcmp()(one, other)


@cache
def _memcmp() -> Callable[[memoryview, memoryview], bool]:
    import ctypes

    memcmp = ctypes.CDLL(None).memcmp
    memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    def same(one: memoryview, other: memoryview) -> bool:
        here, there = ctypes.c_char.from_buffer(one), ctypes.c_char.from_buffer(other)
        return bool(memcmp(ctypes.addressof(here), ctypes.addressof(there), len(one)) == 0)

    return same
