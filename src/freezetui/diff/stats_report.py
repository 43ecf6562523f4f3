"""TensorStats: what the values of one tensor look like. Knows no numpy."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.types import Kind

#: Bars of a histogram.
BINS = 16


class Norms(msgspec.Struct, frozen=True):
    """The L2 norms of rows or columns in brief; `min_at` and `max_at` say which row or column that is."""

    min: float | None
    median: float | None
    max: float | None
    min_at: int
    max_at: int


class TensorStats(msgspec.Struct, frozen=True):
    """Statistics of one tensor; of complex numbers, of their absolute values.

    Attributes:
        min, max, mean, std: of the finite values, `std` with Bessel's correction as torch has it; None
            where there are too few.
        zeros, nan, inf: how many values are so; first_nan, first_inf: the index of the first, () for none.
        histogram: how many finite values lie in each of BINS equal parts from `min` to `max`; empty where
            there is no such range.
        rows, columns: of a matrix; of a tensor of more dimensions rows only, one for each index of the first.
        reason: why it cannot be read as numbers; "" where it can.
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
