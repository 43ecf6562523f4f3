"""Statistics of dtypes of one or two bytes, from how often each of their codes occurs.

One pass counts them; extremes, moments and the histogram follow exactly.
"""

from __future__ import annotations

from functools import cache
from threading import Lock

import numpy as np

from freezetui.checkpoint.types import ITEMSIZE
from freezetui.diff.dtypes import CARRIERS, COMPONENTS, Array, is_numeric, numbers_of
from freezetui.diff.moments import Moments

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


class CodeCounts:
    """How often each code occurs among elements of one or two bytes; bytes are counted two at a time."""

    def __init__(self, itemsize: int) -> None:
        self._pairs, self._bytes = np.zeros(_PAIRS, np.int64), np.zeros(_BYTES, np.int64)
        self._itemsize, self._lock = itemsize, Lock()

    def add(self, bits: Array) -> None:
        """Count some elements; any thread may do so."""
        odd = bits[bits.size - bits.size % 2 :] if self._itemsize == 1 else bits[:0]
        pairs = np.bincount(bits[: bits.size - odd.size].view(np.uint16), minlength=_PAIRS)
        with self._lock:
            self._pairs += pairs
            self._bytes += np.bincount(odd, minlength=_BYTES)

    def counts(self) -> Array:
        """Return how often each code has occurred."""
        if self._itemsize == 2:
            return self._pairs
        pairs = self._pairs.reshape(_BYTES, _BYTES)
        return np.asarray(self._bytes + pairs.sum(0) + pairs.sum(1))


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
