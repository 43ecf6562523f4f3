"""Measures by how much elements differ: adds up sums over chunks that fit the cache."""

from __future__ import annotations

import numpy as np

from freezetui.diff.dtypes import COMPONENTS, Array, casts_to, codes_of, is_floating, numbers_of, rounded_bits
from freezetui.diff.products import dot
from freezetui.diff.sums import MAX_ROUNDING, ROUNDED, SIGNED, Sums

#: Sums in float32 are accurate between these; beyond them squares underflow or overflow: use float64.
_MIN_SQUARE, _MIN_DELTA, _MAX = 1e-20, 1e-10, 1e15


def measure_bits(before: Array, after: Array, dtype: str, row: int, sums: Sums) -> None:
    """Add a chunk of two tensors of one dtype, which can be read as numbers.

    Args:
        row: elements of a row; the chunk consists of whole rows. 0 counts none.
    """
    different = _different(codes_of(before, dtype), codes_of(after, dtype))
    changed = int(np.count_nonzero(different))
    numbers, others = numbers_of(before, dtype), numbers_of(after, dtype)
    if not changed:
        sums.weight += _square(numbers)
        return
    if sums.same_values:
        sums.same_values = np.array_equal(numbers, others, equal_nan=numbers.dtype.kind in "fc")
    if sums.rounded:
        _measure_rounding(numbers, others, sums)
    sums.changed += changed
    if row:
        rows = different.size // row
        all_rows = changed == different.size
        sums.rows += rows if all_rows else int(np.count_nonzero(different.reshape(rows, row).any(axis=1)))
    if sums.units <= MAX_ROUNDING and dtype in ("float32", "float64"):
        # Different signs give a huge distance, which rules out rounding as it should.
        sums.units = max(sums.units, int((np.maximum(before, after) - np.minimum(before, after)).max()))
    if sums.shrinks and dtype in SIGNED:
        sums.shrinks = _shrinks(before, after)
    _measure_deltas(numbers, others, sums)


def measure_cast(before: Array, after: Array, dtypes: tuple[str, str], sums: Sums) -> None:
    """Add a chunk of two tensors of different dtypes, both of which can be read as numbers."""
    numbers, others = numbers_of(before, dtypes[0]), numbers_of(after, dtypes[1])
    sums.forward += _not_cast(numbers, after, dtypes[1])
    sums.back += _not_cast(others, before, dtypes[0])
    _measure_doubles(numbers, others, sums)


def _not_cast(numbers: Array, bits: Array, dtype: str) -> int:
    """Return how many numbers do not become these bits when cast to `dtype`."""
    kind = numbers.dtype.kind
    if dtype in COMPONENTS:
        parts = bits.view(f"u{bits.itemsize // 2}")
        whole = numbers if kind == "c" else numbers.astype(np.complex128)
        same = casts_to(whole.view(whole.real.dtype), COMPONENTS[dtype], parts)
        return int(np.count_nonzero(~same.reshape(-1, 2).all(axis=1)))
    if kind == "c" or (kind == "f" and not is_floating(dtype)):
        return bits.size
    if is_floating(dtype):
        return int(np.count_nonzero(~casts_to(numbers, dtype, bits)))
    return int(np.count_nonzero(numbers != numbers_of(bits, dtype)))


def _different(before: Array, after: Array) -> Array:
    if before.itemsize == 16:
        halves = before.view(np.uint64) != after.view(np.uint64)
        return np.asarray(halves.reshape(-1, 2).any(axis=1))
    return np.asarray(before != after)


def _measure_rounding(before: Array, after: Array, sums: Sums) -> None:
    """Discard the dtypes to which a cast and back does not explain this chunk."""
    for dtype in tuple(sums.rounded):
        if after.dtype.kind != "f" or not _is_rounded(before, after, dtype):
            sums.rounded.discard(dtype)


def _is_rounded(before: Array, after: Array, dtype: str) -> bool:
    """Whether float32 or float64 numbers are those before, cast to a narrower dtype and back."""
    zeros = ROUNDED[dtype] - (0 if after.itemsize == 8 else ROUNDED["float32"])
    bits = after.view(f"u{after.itemsize}")
    if not zeros or np.bitwise_or.reduce(bits) & ((1 << zeros) - 1):
        return False  # fast path: they have bits that the dtype lacks
    rounded = numbers_of(rounded_bits(before, dtype), dtype).astype(after.dtype, copy=False)
    return np.array_equal(rounded.view(bits.dtype), bits)


def _shrinks(before: Array, after: Array) -> bool:
    """Whether no number of a `SIGNED` dtype grew in magnitude or changed its sign, except to zero."""
    sign = before.dtype.type(1 << 8 * before.itemsize - 1)
    left = after & ~sign
    flipped = ((before ^ after) & sign != 0) & (left != 0)
    return not (flipped | (left > before & ~sign)).any()


def _measure_deltas(before: Array, after: Array, sums: Sums) -> None:
    """Add the deltas of two chunks, in float32 if that is accurate enough."""
    if before.dtype == np.float32:
        with np.errstate(all="ignore"):
            delta = after - before
            largest = max(float(delta.max()), -float(delta.min()))
            weight = dot(before, before)
        if _MIN_DELTA < largest < _MAX and _MIN_SQUARE < weight < _MAX:
            sums.largest = max(sums.largest, largest)
            sums.weight += weight
            sums.squares += dot(delta, delta)
            sums.along += dot(before, delta)
            return
    _measure_doubles(before, after, sums)


def _measure_doubles(before: Array, after: Array, sums: Sums) -> None:
    """Add the deltas of any two chunks in float64, without elements that are not finite."""
    if before.dtype == after.dtype and before.dtype in (np.int64, np.uint64):
        _measure_long(before, after, sums)
        return
    kind = np.result_type(_wide(before), _wide(after))
    one, other = before.astype(kind), after.astype(kind)
    finite = np.isfinite(one) & np.isfinite(other)
    if not finite.all():
        sums.nan += int(np.count_nonzero(np.isnan(other) & ~np.isnan(one)))
        sums.inf += int(np.count_nonzero(np.isinf(other) & ~np.isinf(one)))
        sums.from_nan += int(np.count_nonzero(np.isnan(one) & np.isfinite(other)))
        sums.from_inf += int(np.count_nonzero(np.isinf(one) & ~np.isnan(one) & np.isfinite(other)))
        one, other = one[finite], other[finite]
    if one.size:
        with np.errstate(over="ignore", invalid="ignore"):
            delta = other - one
            sums.largest = max(sums.largest, float(np.abs(delta).max()))
            sums.weight += dot(one, one)
            sums.squares += dot(delta, delta)
            sums.along += dot(one, delta)


def _measure_long(before: Array, after: Array, sums: Sums) -> None:
    """Add the deltas of two chunks of 64-bit integers: exact where their float64 values would be equal."""
    # The difference of the larger and the smaller fits an unsigned integer, whatever its sign was.
    delta = (np.maximum(before, after) - np.minimum(before, after)).view(np.uint64).astype(np.float64)
    one = before.astype(np.float64)
    sums.largest = max(sums.largest, float(delta.max()))
    sums.weight += dot(one, one)
    sums.squares += dot(delta, delta)


def _square(numbers: Array) -> float:
    """Return the sum of squares of the finite numbers."""
    if numbers.dtype == np.float32:
        with np.errstate(all="ignore"):
            total = dot(numbers, numbers)
        if _MIN_SQUARE < total < _MAX or not numbers.any():
            return total
    doubles = numbers.astype(_wide(numbers))
    doubles = doubles[np.isfinite(doubles)]
    return dot(doubles, doubles)


def _wide(numbers: Array) -> type[np.generic]:
    """Return the dtype of two floats of 64 bits for complex numbers, of one for others."""
    return np.complex128 if numbers.dtype.kind == "c" else np.float64
