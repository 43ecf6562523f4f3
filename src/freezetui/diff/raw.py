"""Reads the bytes of a tensor in place, and compares two runs of bytes. Does not import numpy."""

from __future__ import annotations

import mmap
import sys
from functools import cache
from math import prod
from typing import TYPE_CHECKING

from freezetui.checkpoint.types import ITEMSIZE, TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.errors import CheckpointError
from freezetui.text import printable

if TYPE_CHECKING:
    import ctypes

    from freezetui.checkpoint.formats.dcp_pieces import Piece

#: Up to this many bytes, a copy and a comparison are faster than a call through ctypes.
_FEW = 1 << 14
#: Fewer bytes are not worth a call to unmap them.
_MANY = 1 << 20
#: `StorageKey.read_as` of elements that are not the stored ones.
LAZY_BITS = frozenset(("conj", "neg", "conj neg"))


def raw_of(weights: Weights, info: TensorInfo) -> memoryview | None:
    """Return the bytes of a tensor that is one contiguous block; None for any other.

    Raises:
        CheckpointError: the file does not contain all of them.
    """
    itemsize = ITEMSIZE.get(info.dtype)
    storage = info.storage
    if info.packing is not None or itemsize is None:
        return None
    if storage is not None and (storage.stride is not None or storage.read_as in LAZY_BITS):
        return None
    pieces = weights.pieces(info)
    if len(pieces) > 1 or (pieces and not _is_whole(pieces[0], info)):
        return None
    raw = pieces[0].raw if pieces else weights.storage(info)
    start = storage.offset * itemsize if storage is not None else 0
    stop = start + prod(info.shape) * itemsize
    if stop > len(raw):
        raise reaches_beyond(info, len(raw) // itemsize)
    return raw[start:stop]


def _is_whole(piece: Piece, info: TensorInfo) -> bool:
    from freezetui.checkpoint.formats.dcp_pieces import are_rows  # imports what reads pickles

    return are_rows([piece], info.shape)


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
    return bool(_library().memcmp(_address(one), _address(other), len(one)) == 0)


def let_go(raw: memoryview) -> None:
    """Unmap the pages of a part of a mapped file that nobody writes to; another read maps them again.

    Unmapping a file takes a fifth of the time of a comparison, and would be left to one thread at the end.
    """
    if not (sys.platform == "linux" and isinstance(raw.obj, mmap.mmap)) or len(raw) < _MANY:
        return
    address = _address(raw)
    start, end = (place // mmap.PAGESIZE * mmap.PAGESIZE for place in (address, address + len(raw)))
    _library().madvise(start, end - start, mmap.MADV_DONTNEED)


def _address(raw: memoryview) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(raw))


@cache
def _library() -> ctypes.CDLL:
    import ctypes

    library = ctypes.CDLL(None)
    library.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    if sys.platform == "linux":
        library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library
