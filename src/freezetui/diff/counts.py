"""Statistics of dtypes of one or two bytes, from how often each of their codes occurs.

One pass counts them; extremes, moments and the histogram follow exactly. Squares are looked up by code.
"""

from __future__ import annotations

from functools import cache
from threading import Lock, local
from typing import Any

import numpy as np

from freezetui.checkpoint.types import ITEMSIZE
from freezetui.diff.dtypes import CARRIERS, COMPONENTS, Array, is_numeric, numbers_of
from freezetui.diff.moments import Moments
from freezetui.diff.products import MAX_SQUARE, MIN_SQUARE

#: Codes of a dtype of one byte, and of two.
_BYTES, _PAIRS = 1 << 8, 1 << 16


@cache
def code_values(dtype: str) -> Array | None:
    """Return the float64 value of each code, two for float4_e2m1fn_x2; None for wider dtypes."""
    itemsize = ITEMSIZE[dtype]
    if itemsize > 2 or not is_numeric(dtype) or dtype in COMPONENTS:
        return None
    codes: Array = np.arange(_BYTES**itemsize).astype(CARRIERS[itemsize])
    with np.errstate(invalid="ignore"):  # some NaN are signaling ones
        return np.asarray(numbers_of(codes, dtype).astype(np.float64))


@cache
def square_table(dtype: str) -> Array | None:
    """Return the float32 square of each code's value; None if some would underflow or overflow.

    For dtypes of one byte, the squares of each two codes, as a complex64.
    """
    values = code_values(dtype)
    if values is None or len(values) > _BYTES ** ITEMSIZE[dtype]:
        return None
    squares = values * values
    sized = squares[np.isfinite(squares) & (squares > 0)]
    if not (sized.min() > MIN_SQUARE and sized.max() < MAX_SQUARE):
        return None
    singles: Array = squares.astype(np.float32)
    if len(singles) > _BYTES:
        return singles
    pairs = np.stack((np.tile(singles, _BYTES), np.repeat(singles, _BYTES)), axis=1)
    return np.asarray(pairs.view(np.complex64).reshape(-1))


class CodeCounts:
    """How often each code occurs among elements of one or two bytes; bytes are counted two at a time.

    Args:
        dtype: one with `code_values`.

    Attributes:
        knows_squares: whether `squares` can be called.
    """

    def __init__(self, dtype: str) -> None:
        self._pairs, self._bytes = np.zeros(_PAIRS, np.int64), np.zeros(_BYTES, np.int64)
        self._itemsize, self._lock, self._scratch = ITEMSIZE[dtype], Lock(), _Scratch()
        self._table = square_table(dtype)
        self.knows_squares = self._table is not None

    def add(self, bits: Array) -> Array:
        """Count some elements, and return their codes for `squares`; any thread may do so.

        The codes are valid until the thread's next call.
        """
        odd = bits[bits.size - bits.size % 2 :] if self._itemsize == 1 else bits[:0]
        words = bits[: bits.size - odd.size].view(np.uint16)
        codes = self._scratch.array(words.size, np.dtype(np.intp))
        np.copyto(codes, words)
        pairs = np.bincount(codes, minlength=_PAIRS)
        with self._lock:
            self._pairs += pairs
            self._bytes += np.bincount(odd, minlength=_BYTES)
        return codes

    def squares(self, bits: Array, codes: Array, low: int, high: int) -> Array:
        """Return the float32 squares of the elements `low .. high - 1` of those added last.

        Valid until the thread's next call.

        Args:
            bits, codes: what `add` was given and has returned.
            low: even.
        """
        assert self._table is not None
        step = 2 // self._itemsize
        some = codes[low // step : high // step]
        found = self._scratch.array(some.size, self._table.dtype)
        # Not "raise", which would copy.
        squares = np.take(self._table, some, out=found, mode="clip").view(np.float32)
        return squares if squares.size == high - low else np.append(squares, self._table[bits[-1]].real)

    def counts(self) -> Array:
        """Return how often each code has occurred."""
        if self._itemsize == 2:
            return self._pairs
        pairs = self._pairs.reshape(_BYTES, _BYTES)
        return np.asarray(self._bytes + pairs.sum(0) + pairs.sum(1))


class _Scratch(local):
    """Memory that a thread uses again: new memory costs a page fault for every 4 KiB of it."""

    def __init__(self) -> None:
        self._kept: dict[np.dtype[Any], Array] = {}

    def array(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Return an array with any values, which shares its memory with the last one of this dtype."""
        kept = self._kept.get(dtype)
        if kept is None or kept.size < size:
            kept = self._kept[dtype] = np.empty(size, dtype)
        return kept[:size]


def moments_of_counts(counts: Array, values: Array) -> Moments:
    """Return the moments of elements, without the positions of NaN and Inf.

    Args:
        counts: how often each code occurs; values: see `code_values`.
    """
    counts, values = _present(counts, values)
    is_nan, is_inf = np.isnan(values), np.isinf(values)
    found = Moments(
        zeros=int(counts[values == 0].sum()),
        nan=int(counts[is_nan].sum()),
        inf=int(counts[is_inf].sum()),
        minus_inf=int(counts[values == -np.inf].sum()),
    )
    finite = ~(is_nan | is_inf)
    counts, values = counts[finite], values[finite]
    found.count = int(counts.sum())
    if found.count:
        found.low, found.high = float(values.min()), float(values.max())
        found.mean = float((counts * values).sum()) / found.count
        found.squares = float((counts * (values - found.mean) ** 2).sum())
    return found


def histogram_of_counts(counts: Array, values: Array, edges: Array) -> tuple[int, ...]:
    """Return how many finite elements lie between the inner edges of a histogram's bins."""
    counts, values = _present(counts, values)
    finite = np.isfinite(values)
    bins = np.searchsorted(edges, values[finite], side="right")
    found = np.zeros(len(edges) + 1, np.int64)
    np.add.at(found, bins, counts[finite])
    return tuple(map(int, found))


def _present(counts: Array, values: Array) -> tuple[Array, Array]:
    """Return the codes that occur; each of float4_e2m1fn_x2 counts for two values."""
    counts = np.repeat(counts, len(values) // len(counts))
    occurs = counts > 0
    return counts[occurs], values[occurs]
