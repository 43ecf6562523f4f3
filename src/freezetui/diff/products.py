"""Adds up products, of float32 numbers in short blocks, so that a sum is accurate to a few millionths.

Without BLAS, whose threads would compete with those that compare.
"""

from __future__ import annotations

import numpy as np

from freezetui.diff.dtypes import Array

#: How many float32 products are added before their sum is added to others in float64: in a row, where numpy
#: adds them in many sums at once, and in a column, where it adds them one by one.
_BLOCK, _COLUMN_BLOCK = 1 << 10, 1 << 7
#: Sums of squares in float32 neither underflow nor overflow between these.
_MIN_SQUARE, _MAX_SQUARE = 1e-20, 1e30


def dot(one: Array, other: Array) -> float:
    """Return the dot product of two runs of numbers of one dtype; complex ones are pairs of reals."""
    one, other = one.view(one.real.dtype), other.view(other.real.dtype)
    whole = one.size // _BLOCK * _BLOCK
    total = float(np.einsum("i,i->", one[whole:], other[whole:]))
    if whole:
        rows, others = one[:whole].reshape(-1, _BLOCK), other[:whole].reshape(-1, _BLOCK)
        total += float(np.einsum("ij,ij->i", rows, others).sum(dtype=np.float64))
    return total


def sums_of_squares(matrix: Array, axis: int) -> Array:
    """Return the sums of the squares along an axis in float64.

    Those of float32 numbers are added in float32, unless that could underflow or overflow.
    """
    with np.errstate(all="ignore"):
        if matrix.dtype != np.float32:
            return _squares(matrix.astype(np.float64), axis)
        sums = _squares(matrix, axis)
        if not (sums.min() > _MIN_SQUARE and sums.max() < _MAX_SQUARE):
            bad = ~((sums > _MIN_SQUARE) & (sums < _MAX_SQUARE))
            sums[bad] = _squares((matrix[bad] if axis else matrix[:, bad]).astype(np.float64), axis)
    return sums


def _squares(matrix: Array, axis: int) -> Array:
    """Return the sums of the squares along an axis, added in the matrix's dtype in blocks."""
    rows, columns = matrix.shape
    block = _BLOCK if axis else _COLUMN_BLOCK
    whole = matrix.shape[axis] // block * block
    rest = matrix[:, whole:] if axis else matrix[whole:]
    sums = np.einsum("ij,ij->i" if axis else "ij,ij->j", rest, rest).astype(np.float64)
    if whole and axis:
        blocks = matrix[:, :whole].reshape(rows, -1, block)
        sums += np.einsum("ijk,ijk->ij", blocks, blocks).sum(1, dtype=np.float64)
    elif whole:
        blocks = matrix[:whole].reshape(-1, block, columns)
        sums += np.einsum("ijk,ijk->ik", blocks, blocks).sum(0, dtype=np.float64)
    return np.asarray(sums)
