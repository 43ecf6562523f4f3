"""TensorStats: statistics of the values of one tensor. Does not import numpy."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.types import Kind

#: Bins of a histogram.
BINS = 16


class Norms(msgspec.Struct, frozen=True):
    """A summary of the L2 norms of rows or columns; `min_at` and `max_at` are their indices."""

    min: float | None
    median: float | None
    max: float | None
    min_at: int
    max_at: int


class TensorStats(msgspec.Struct, frozen=True):
    """Statistics of one tensor; for complex numbers, of their absolute values.

    Attributes:
        min, max, mean, std: of the finite values, `std` with Bessel's correction as in torch; None
            if there are too few.
        zeros, nan, inf: how many values are zero, NaN or infinite.
        first_nan, first_inf: the index of the first; () for none.
        histogram: how many finite values are in each of BINS equal bins from `min` to `max`; empty if
            there is no such range.
        rows, columns: of a matrix; a tensor of more dimensions has rows only, one per index of the first.
        reason: why it cannot be read as numbers; "" if it can.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    elements: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    zeros: int = 0
    nan: int = 0
    inf: int = 0
    first_nan: tuple[int, ...] = ()
    first_inf: tuple[int, ...] = ()
    histogram: tuple[int, ...] = ()
    rows: Norms | None = None
    columns: Norms | None = None
    reason: str = ""
