"""Adds up products, of float32 numbers in short blocks, so that a sum is accurate to a few millionths.

A block is too short for the threads of BLAS, which would compete with those that compare.
"""

from __future__ import annotations

import numpy as np

from freezetui.diff.dtypes import Array

#: How many float32 products are added before their sum is added to others in float64: in a row, where numpy
#: adds them in many sums at once, and in a column, where it adds them one by one.
_BLOCK, _COLUMN_BLOCK = 1 << 10, 1 << 7
#: Sums of squares in float32 neither underflow nor overflow between these.
MIN_SQUARE, MAX_SQUARE = 1e-20, 1e30


def dot(one: Array, other: Array) -> float:
    """Return the dot product of two runs of numbers of one dtype; complex ones are pairs of reals."""
    one, other = one.view(one.real.dtype), other.view(other.real.dtype)
    whole = one.size // _BLOCK * _BLOCK
    total = float(np.einsum("i,i->", one[whole:], other[whole:]))
    if whole:
        rows, others = one[:whole].reshape(-1, _BLOCK), other[:whole].reshape(-1, _BLOCK)
        # One product of a row and a column for each block: twice as fast as einsum.
        total += float(np.matmul(rows[:, None], others[:, :, None]).sum(dtype=np.float64))
    return total


def sums_of_squares(matrix: Array, axis: int) -> Array:
    """Return the sums of the squares along an axis in float64.

    Those of float32 numbers are added in float32, unless that could underflow or overflow.
    """
    with np.errstate(all="ignore"):
        if matrix.dtype != np.float32:
            return sums_of(matrix.astype(np.float64), axis, 2)
        sums = sums_of(matrix, axis, 2)
        if not (sums.min() > MIN_SQUARE and sums.max() < MAX_SQUARE):
            bad = ~((sums > MIN_SQUARE) & (sums < MAX_SQUARE))
            sums[bad] = sums_of((matrix[bad] if axis else matrix[:, bad]).astype(np.float64), axis, 2)
    return sums


def sums_of(matrix: Array, axis: int, power: int = 1) -> Array:
    """Return the sums of a power of the numbers along an axis, added in the matrix's dtype in blocks."""
    rows, columns = matrix.shape
    block = _BLOCK if axis else _COLUMN_BLOCK
    whole = matrix.shape[axis] // block * block
    sums = _sums(matrix[:, whole:] if axis else matrix[whole:], "ij", "i" if axis else "j", power)
    if whole and axis:
        sums += _sums(matrix[:, :whole].reshape(rows, -1, block), "ijk", "ij", power).sum(1)
    elif whole:
        sums += _sums(matrix[:whole].reshape(-1, block, columns), "ijk", "ik", power).sum(0)
    return sums


def _sums(numbers: Array, axes: str, left: str, power: int) -> Array:
    """Return the sums over all axes but those that are left, in float64."""
    return np.asarray(np.einsum(f"{','.join([axes] * power)}->{left}", *[numbers] * power), np.float64)
