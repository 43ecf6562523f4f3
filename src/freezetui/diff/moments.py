"""Computes extremes, mean and variance by chunks; numbers that are not finite are counted separately."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from freezetui.diff.dtypes import Array
from freezetui.diff.products import dot

#: Squares in float32 are accurate between these; beyond them float64 is used.
_MIN, _MAX = 1e-15, 1e15


@dataclass
class Moments:
    """The moments of the chunks so far.

    Attributes:
        count: of the finite numbers; mean, low, high: of those; squares: of their distances from the mean.
        zeros, nan, inf: how many numbers are zero, NaN or infinite; minus_inf: how many are -inf.
        first_nan, first_inf: the position of the first one; None if there is none.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    nan: int = 0
    inf: int = 0
    minus_inf: int = 0
    first_nan: int | None = None
    first_inf: int | None = None

    def add(self, other: Moments) -> None:
        """Add another chunk's moments; means are combined by the method of Chan, Golub and LeVeque."""
        count = self.count + other.count
        if other.count:
            delta = other.mean - self.mean
            self.squares += other.squares + delta * delta * (self.count * other.count / count)
            self.mean += delta * (other.count / count)
        self.count = count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.zeros += other.zeros
        self.nan, self.inf = self.nan + other.nan, self.inf + other.inf
        self.minus_inf += other.minus_inf
        self.first_nan = _first(self.first_nan, other.first_nan)
        self.first_inf = _first(self.first_inf, other.first_inf)


def moments_of(numbers: Array, start: int, square: float | None = None) -> Moments:
    """Return the moments of a chunk of real numbers.

    Args:
        start: the position of its first number.
        square: the sum of the squares of the numbers, if it is known.
    """
    if not numbers.size:
        return Moments()
    zeros = int(np.count_nonzero(numbers == 0))  # three times as fast as counting nonzero floats
    low, high = float(numbers.min()), float(numbers.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return _of_not_finite(numbers, start, zeros)
    is_single = numbers.dtype == np.float32 and _MIN < max(-low, high) < _MAX
    # numpy adds in pairs: the error is that of a few additions, in float32, too.
    mean = float(numbers.sum(dtype=np.float32 if is_single else np.float64)) / numbers.size
    squares = _single_squares(numbers, mean, square) if is_single else None
    return Moments(
        numbers.size, mean, _squares(numbers, mean) if squares is None else squares, low, high, zeros
    )


def _single_squares(numbers: Array, mean: float, square: float | None) -> float | None:
    """Return the sum of the squared distances of float32 numbers from their mean; None if it is tiny."""
    if square is None:
        square = dot(numbers, numbers)
    offset = numbers.size * mean * mean
    if square > _MIN and offset < square / 2:
        return square - offset  # nothing is lost by this difference
    near = np.float32(mean)
    distances = numbers - near
    total = dot(distances, distances)
    return max(0.0, total - numbers.size * (mean - float(near)) ** 2) if total > _MIN else None


def _squares(numbers: Array, mean: float) -> float:
    """Return the sum of the squared distances from the mean, in float64."""
    with np.errstate(over="ignore"):
        distances = numbers.astype(np.float64)
        distances -= mean
        return dot(distances, distances)


def _of_not_finite(numbers: Array, start: int, zeros: int) -> Moments:
    """Return the moments of a chunk with NaN or infinite numbers."""
    is_nan, is_inf = np.isnan(numbers), np.isinf(numbers)
    found = moments_of(numbers[~(is_nan | is_inf)], start)
    found.zeros = zeros
    found.nan, found.inf = int(np.count_nonzero(is_nan)), int(np.count_nonzero(is_inf))
    found.minus_inf = int(np.count_nonzero(numbers[is_inf] < 0))
    found.first_nan = start + int(is_nan.argmax()) if found.nan else None
    found.first_inf = start + int(is_inf.argmax()) if found.inf else None
    return found


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
