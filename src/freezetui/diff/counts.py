"""Statistics of dtypes of one or two bytes, from how often each of their codes occurs.

One pass counts them; extremes, moments and the histogram follow exactly.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from freezetui.checkpoint.types import ITEMSIZE
from freezetui.diff.dtypes import CARRIERS, COMPONENTS, Array, is_numeric, numbers_of
from freezetui.diff.moments import Moments

#: Up to this many elements of two bytes are counted at once: as machine words they fit the L2 cache.
_AT_ONCE = 1 << 18
#: Codes of a dtype of one byte, and of a pair of them.
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


def count_codes(bits: Array) -> Array:
    """Return how often each code occurs among elements of one or two bytes."""
    counts = np.zeros(_BYTES**bits.itemsize, np.int64)
    for start in range(0, bits.size, _AT_ONCE):
        part = bits[start : start + _AT_ONCE]
        if part.itemsize == 2:
            counts += np.bincount(part, minlength=_PAIRS)
        elif part.size < _PAIRS:
            counts += np.bincount(part, minlength=_BYTES)
        else:  # two at a time
            half = part.size // 2
            pairs = np.bincount(part[: 2 * half].view(np.uint16), minlength=_PAIRS)
            counts += pairs.reshape(_BYTES, _BYTES).sum(0) + pairs.reshape(_BYTES, _BYTES).sum(1)
            counts += np.bincount(part[2 * half :], minlength=_BYTES)
    return counts


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
