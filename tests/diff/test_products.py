"""Sums of products: float32 is accurate however many are added, and however large or small they are."""

from __future__ import annotations

import numpy as np
import pytest

from freezetui.diff.products import dot, sums_of_squares


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 100_000, 300_001])
def test_a_dot_product_of_equal_numbers_does_not_drift(size):
    """Rounding each of many equal products in one direction adds up."""
    numbers = np.full(size, 1 / 3, np.float32)
    assert dot(numbers, -numbers) == pytest.approx(-size * float(np.float32(1 / 3)) ** 2, rel=5e-6)


def test_complex_numbers_are_pairs():
    assert dot(np.array([3 + 4j, 1j]), np.array([1 + 1j, 2j])) == 3 + 4 + 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 2048), (7, 20001), (1, 300_001), (70_001, 3), (4096, 2)])
@pytest.mark.parametrize("scale", [1 / 3, 1e-25, 1e25])
def test_sums_of_squares_are_those_of_doubles(shape, scale):
    matrix = np.full(shape, scale, np.float32)
    matrix[0] *= 3
    for axis in (0, 1):
        expected = np.square(matrix.astype(np.float64)).sum(axis)
        np.testing.assert_allclose(sums_of_squares(matrix, axis), expected, rtol=5e-6)


def test_only_the_rows_and_columns_with_nan_and_infinity_have_no_sum():
    matrix = np.ones((3, 4), np.float32)
    matrix[0, 1], matrix[2, 3] = np.nan, np.inf
    assert np.isfinite(sums_of_squares(matrix, 1)).tolist() == [False, True, False]
    assert np.isfinite(sums_of_squares(matrix, 0)).tolist() == [True, False, True, False]
