"""Reads the elements of a tensor in place: read-only views of a checkpoint's mapped bytes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import add, le
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from freezetui.checkpoint.types import (
    ITEMSIZE,
    PACKED,
    ROW_PACKED,
    TensorInfo,
    can_require_grad,
    contiguous_stride,
)
from freezetui.checkpoint.weights import Weights
from freezetui.diff.dtypes import CARRIERS, COMPONENTS, Array, is_numeric
from freezetui.diff.raw import LAZY_BITS, raw_of, reaches_beyond
from freezetui.errors import CheckpointError
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.checkpoint.formats.dcp_pieces import Piece

_CARRIERS = {dtype: np.dtype(CARRIERS[itemsize]) for dtype, itemsize in ITEMSIZE.items()}
#: Behind a URL, elements that are not in a row are read at once: at most from so many bytes.
MAX_SCATTERED = 16 << 20
#: `Packing.what` of tensors whose data is not in the file in a supported form -> why.
_ARRAY = "a NumPy array inside a pickle is not read"
_NOWHERE = {
    "meta": "a meta tensor has no data",
    "uninitialized": "an uninitialized tensor has no data",
    "unknown": "a tensor of an unknown kind is not read",
    "array": _ARRAY,
    "NumPy array": _ARRAY,
}


class UnreadableError(CheckpointError):
    """A tensor whose encoding is not supported; its data may be complete."""


class TensorValues:
    """The elements of one tensor, in the order of its dimensions.

    Args:
        parts: the elements as `CARRIERS`, with the tensor's own strides; or plain bytes, possibly in
            several pieces.
        is_numeric: whether `dtypes.numbers_of` can read them.
        weights: what fills the elements before they are read, if they are behind a URL; else None.
        flips: what makes the stored bits the tensor's own, see `_flips`; None if they are.

    Attributes:
        elements: how many there are, as carriers; first: those of the first part.
        nbytes: of the elements; itemsize: of each.
    """

    __slots__ = (
        "_flat",
        "_flips",
        "_parts",
        "_weights",
        "elements",
        "first",
        "is_numeric",
        "itemsize",
        "nbytes",
    )

    def __init__(
        self,
        parts: Sequence[Array],
        is_numeric: bool,
        weights: Weights | None = None,
        flips: Array | None = None,
    ) -> None:
        self._parts, self._flips = parts, flips
        self.first = parts[0].size if parts else 0
        self._weights = weights if weights is not None and weights.remote is not None else None
        #: All elements in a row, if they are contiguous; most tensors are, and there may be 100,000.
        self._flat = parts[0].reshape(-1) if len(parts) == 1 and parts[0].flags.c_contiguous else None
        self.elements, self.nbytes = sum([p.size for p in parts]), sum([p.nbytes for p in parts])
        self.itemsize = parts[0].itemsize if parts else 1
        self.is_numeric = is_numeric

    @property
    def is_remote(self) -> bool:
        """Whether the elements are fetched from a URL."""
        return self._weights is not None

    def chunk(self, start: int, stop: int) -> Array:
        """Return the elements `start .. stop - 1`, flat; a copy only if they are not stored like this."""
        stored = self._stored(start, stop)
        if self._flips is None:
            return stored
        words = stored.view(self._flips.dtype).reshape(-1, self._flips.size)
        return np.asarray((words ^ self._flips).reshape(-1).view(stored.dtype))

    def _stored(self, start: int, stop: int) -> Array:
        if self._flat is not None and self._weights is None:
            return self._flat[start:stop]
        if len(self._parts) == 1:
            return _piece(self._parts[0], start, stop, self._weights)
        pieces = []
        for part in self._parts:
            pieces.append(_piece(part, max(start, 0), max(stop, 0), self._weights))
            start, stop = start - part.size, stop - part.size
        return np.concatenate(pieces)


def _piece(part: Array, start: int, stop: int, weights: Weights | None) -> Array:
    is_flat = part.ndim == 1 and part.flags.c_contiguous
    if weights is None:
        return part[start:stop] if is_flat else part.flat[start:stop]
    if part.flags.c_contiguous:
        part, is_flat = part.reshape(-1)[start:stop], True
    with weights.filled(part.ctypes.data, _reach(part)):
        return part.copy() if is_flat else part.flat[start:stop]


def _reach(part: Array) -> int:
    """Return the bytes from an array's first element to the end of its last; no stride is negative."""
    steps = zip(part.shape, part.strides, strict=True)
    return part.itemsize + sum((size - 1) * step for size, step in steps) if part.size else 0


def values_of(weights: Weights, info: TensorInfo) -> TensorValues:
    """Return the elements of a tensor.

    For a tensor that is not one block of known elements, returns its bytes: the packed rows of a quantized
    one, the storages of the parts of a sparse one.

    Raises:
        CheckpointError: the file does not contain all of them.
        UnreadableError: their encoding is not supported.
    """
    if info.packing is not None:
        parts = _packed(weights, info, info.packing.what, info.packing.bytes)
        return TensorValues([np.frombuffer(part, np.uint8) for part in parts if len(part)], False, weights)
    if info.dtype not in _CARRIERS:
        raise UnreadableError(f"{printable(info.dtype)} is not a supported dtype.")
    carrier = _CARRIERS[info.dtype]
    block = raw_of(weights, info)
    if block is not None:
        flat = np.frombuffer(block.toreadonly(), carrier) if len(block) else np.empty(0, carrier)
        return TensorValues([flat], is_numeric(info.dtype), weights)
    if pieces := weights.pieces(info):
        return TensorValues(_joined(pieces, info, carrier, weights), is_numeric(info.dtype), weights)
    storage = info.storage
    assert storage is not None
    raw = weights.storage(info).toreadonly()
    flat = np.frombuffer(raw, carrier, len(raw) // carrier.itemsize) if len(raw) else np.empty(0, carrier)
    stride = storage.stride if storage.stride is not None else contiguous_stride(info.shape)
    view = _strided(flat[storage.offset :], info.shape, stride)
    if view is None:
        raise reaches_beyond(info, flat.size)
    _refuse_scattered(view, info, weights)
    return TensorValues([view], is_numeric(info.dtype), weights, _flips(info.dtype, storage.read_as))


def _flips(dtype: str, read_as: str) -> Array | None:
    """Return what to flip in the parts of each element: signs, if torch's lazy bits are set; else None.

    Raises:
        UnreadableError: its elements are not floating point or complex numbers.
    """
    if read_as not in LAZY_BITS:
        return None
    parts = 2 if dtype in COMPONENTS else 1
    if not is_numeric(dtype) or not can_require_grad(dtype) or dtype in PACKED:
        raise UnreadableError(f"{printable(dtype)} with a lazy sign is not supported.")
    bits = 8 * ITEMSIZE[dtype] // parts
    sign = 1 << bits - 1
    flips = [sign * ("neg" in read_as)] * parts
    if "conj" in read_as:
        flips[-1] ^= sign * (parts > 1)
    return np.array(flips, f"u{bits // 8}")


def _refuse_scattered(view: Array, info: TensorInfo, weights: Weights) -> None:
    """Refuse elements behind a URL that are scattered over more bytes than may be kept in memory.

    Raises:
        UnreadableError: they are.
    """
    if weights.remote is not None and not view.flags.c_contiguous and _reach(view) > MAX_SCATTERED:
        raise UnreadableError(
            f"{printable(info.name)} is stored with strides and too large to be read from a URL; download it"
        )


def _joined(
    pieces: Sequence[Piece], info: TensorInfo, carrier: np.dtype[Any], weights: Weights
) -> list[Array]:
    """Return the elements of a tensor in pieces: ranges of rows in place, other blocks as a copy.

    Raises:
        CheckpointError: the pieces are not the whole tensor.
    """
    from freezetui.checkpoint.formats.dcp_pieces import are_rows  # imports what reads pickles

    blocks = [_block(piece, info, carrier) for piece in pieces]
    for block in blocks:
        _refuse_scattered(block, info, weights)
    if are_rows(list(pieces), info.shape):
        return [block.reshape(-1) for block in blocks]
    reach = [tuple(map(add, piece.offsets, piece.shape)) for piece in pieces]
    fits = all(len(end) == len(info.shape) and all(map(le, end, info.shape)) for end in reach)
    if not fits or sum(block.size for block in blocks) != prod(info.shape):
        raise CheckpointError(f"The pieces of {printable(info.name)} are not the whole.", "Save it again.")
    if weights.remote is not None and prod(info.shape) * carrier.itemsize > MAX_SCATTERED:
        raise UnreadableError(
            f"{printable(info.name)} is in blocks too large to be read from a URL; download it"
        )
    try:
        whole = np.zeros(info.shape, carrier)
    except MemoryError:
        raise UnreadableError(f"{printable(info.name)} is too large to be joined in memory.") from None
    for piece, block, end in zip(pieces, blocks, reach, strict=True):
        with weights.filled(block.ctypes.data, _reach(block)):
            whole[tuple(map(slice, piece.offsets, end))] = block
    return [whole]


def _block(piece: Piece, info: TensorInfo, carrier: np.dtype[Any]) -> Array:
    raw = piece.raw.toreadonly()
    count = len(raw) // carrier.itemsize
    flat = np.frombuffer(raw, carrier, count) if count else np.empty(0, carrier)
    if piece.stride is None:
        return flat.reshape(piece.shape)
    view = _strided(flat, piece.shape, piece.stride)
    if view is None:
        raise reaches_beyond(info, flat.size)
    return view.reshape(piece.shape)


def _strided(flat: Array, shape: tuple[int, ...], stride: Sequence[int]) -> Array | None:
    """Return a storage's elements with a tensor's shape; None if it reaches beyond them."""
    elements = prod(shape)
    if elements == 0:
        return flat[:0]
    reach = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if reach >= flat.size:
        return None
    try:
        return as_strided(flat, shape, [step * flat.itemsize for step in stride], writeable=False)
    except ValueError:  # more elements (of stride 0) or dimensions than numpy supports
        return None


def _packed(weights: Weights, info: TensorInfo, what: str, nbytes: int) -> list[memoryview]:
    """Return the bytes of a tensor that is not one block of known elements."""
    if what in _NOWHERE:
        raise UnreadableError(f"{_NOWHERE[what]}.")
    if info.storage is None or info.dtype in ROW_PACKED:
        raw = weights.storage(info)
        if len(raw) < nbytes or (info.storage is not None and info.storage.offset):
            raise CheckpointError(f"{printable(info.name)} is truncated.", "Download or save the file again.")
        return [raw[:nbytes]]
    found = [weights.storage(info)] if what == "subclass" else weights.parts(info)
    if not found:
        raise UnreadableError(f"{what} tensors are not supported.")
    return found
