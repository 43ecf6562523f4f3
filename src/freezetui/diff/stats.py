"""Computes statistics of a tensor: extremes, moments, NaN, a histogram, norms of rows and columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from threading import Lock

import numpy as np

from freezetui.checkpoint.types import PACKED, TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.diff.counts import CodeCounts, code_values, histogram_of_counts, moments_of_counts
from freezetui.diff.dtypes import Array, numbers_of
from freezetui.diff.moments import Moments, moments_of
from freezetui.diff.products import sums_of, sums_of_squares
from freezetui.diff.stats_report import BINS, Norms, TensorStats
from freezetui.diff.sums import CHUNK
from freezetui.diff.threads import Job, Progress, run_jobs, spans
from freezetui.diff.values import TensorValues, values_of
from freezetui.errors import CheckpointError

_JOB = 1 << 22
#: Rows of a chunk, unless they are so long that it would have more elements than this.
_MIN_ROWS, _MAX_CHUNK = 8, 1 << 18
#: Elements of a chunk whose codes are counted.
_COUNTED = 1 << 19
#: No norms are computed for longer rows, or for more rows.
_MAX_ROW, _MAX_ROWS = 1 << 19, 1 << 21
#: At most this many numbers are compared with all edges in one call.
_FEW = 1 << 12
#: How many chunks' squares are looked up at once.
_TAKEN = 2
#: Fewer elements are measured without counting their codes.
_MIN_COUNTED = 1 << 16

#: Processes a chunk of elements as in the file, given its first element's position, and adds to moments.
_Look = Callable[[Array, int, Moments], None]


def tensor_stats(weights: Weights, info: TensorInfo, progress: Progress = lambda text: None) -> TensorStats:
    """Return the statistics of one tensor.

    Makes two passes over the mapped bytes in a few threads, one if the elements are narrow, and copies only a
    few chunks.

    Raises:
        CheckpointError: the file does not contain the tensor, or it cannot be read as numbers.
    """
    values = values_of(weights, info)
    if not values.is_numeric:
        what = info.packing.what if info.packing else info.dtype
        raise CheckpointError(f"{what} cannot be read as numbers.")
    work = _Work(values, info)
    codes = code_values(info.dtype) if values.elements >= _MIN_COUNTED else None
    if codes is not None:
        work.counts = CodeCounts(info.dtype)
        work.run(work.tally, progress)
        work.finish(codes)
        return work.result()
    work.run(work.measure, progress)
    work.edges = _edges(work.moments)
    if len(work.edges):
        work.run(work.count, progress)
    return work.result()


def unread_stats(info: TensorInfo, reason: str) -> TensorStats:
    """Return the statistics of a tensor that cannot be read."""
    return TensorStats(info.name, info.kind, info.shape, info.dtype, info.elements, reason=reason)


@dataclass
class _Work:
    """The passes over one tensor, and their results.

    Attributes:
        edges: of the histogram's bins, without the outer ones; below: how many values are below each.
        counts: how often each code occurs; None if they are not counted.
        rows, columns: sums of squares.
    """

    values: TensorValues
    info: TensorInfo
    moments: Moments = field(default_factory=Moments)
    edges: Array = field(default_factory=lambda: np.empty(0))
    below: Array = field(default_factory=lambda: np.zeros(BINS - 1, np.int64))
    counts: CodeCounts | None = None
    row: int = 0
    rows: Array | None = None
    columns: Array | None = None
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        shape = self.info.shape
        if len(shape) < 2 or not self.values.elements or self.info.dtype in PACKED:
            return
        row = self.values.elements // shape[0]
        if row <= _MAX_ROW and shape[0] <= _MAX_ROWS:
            self.row, self.rows = row, np.zeros(shape[0])
            self.columns = np.zeros(row) if len(shape) == 2 else None

    @property
    def _step(self) -> int:
        """The elements of a chunk: whole rows, several since each chunk adds to all columns.

        An even number, since codes of one byte are counted two at a time.
        """
        row = self.row or 1
        rows = max(1, CHUNK // row, min(_MIN_ROWS, _MAX_CHUNK // row))
        return (rows + rows % 2) * row

    def run(self, look: _Look, progress: Progress) -> None:
        """Call `look` with every chunk."""
        values, row = self.values, self.row or 1
        step = max(1, _JOB // values.itemsize // row) * row
        jobs = (
            Job(self._job(look, start, stop), (stop - start) * values.itemsize)
            for start, stop in spans(values.elements, step)
        )
        run_jobs(jobs, values.nbytes, "reading values", progress, in_order=values.is_remote)

    def _job(self, look: _Look, start: int, stop: int) -> Callable[[], None]:
        step = self._step
        if self.counts is not None:
            step *= max(1, _COUNTED // step)

        def work() -> None:
            own = Moments()
            for low, high in spans(stop - start, step):
                look(self.values.chunk(start + low, start + high), start + low, own)
            with self.lock:
                self.moments.add(own)

        return work

    def measure(self, bits: Array, start: int, own: Moments) -> None:
        """Add a chunk's moments, and the squares of its rows and columns."""
        numbers = _real(numbers_of(bits, self.info.dtype))
        square = self._add_squares(numbers, start) if self.rows is not None else None
        own.add(moments_of(numbers, start * PACKED.get(self.info.dtype, 1), square))

    def tally(self, bits: Array, start: int, own: Moments) -> None:
        """Count a chunk's codes, and add the squares of its rows and columns; `own` is not used."""
        assert self.counts is not None
        codes = self.counts.add(bits)
        for low, high in spans(bits.size, _TAKEN * self._step) if self.rows is not None else ():
            if self.counts.knows_squares:
                squares = self.counts.squares(bits, codes, low, high).reshape(-1, self.row)
                self._add_norms(partial(sums_of, squares), start + low)
            else:
                self._add_squares(_singles(bits[low:high], self.info.dtype), start + low)

    def finish(self, codes: Array) -> None:
        """Set the moments and the histogram by the counts of the codes, whose values are `codes`."""
        assert self.counts is not None
        counts = self.counts.counts()
        self.moments = moments_of_counts(counts, codes)
        self.edges = _edges(self.moments)
        if len(self.edges):
            self.below = np.cumsum(histogram_of_counts(counts, codes, self.edges))[:-1]
            self.below += self.moments.minus_inf
        if self.moments.nan:
            self.moments.first_nan = self._first(np.isnan(codes))
        if self.moments.inf:
            self.moments.first_inf = self._first(np.isinf(codes))

    def _first(self, which: Array) -> int | None:
        """Return the position of the first element with one of these codes."""
        for low, high in spans(self.values.elements, _COUNTED):
            found = np.take(which, self.values.chunk(low, high))
            if found.any():
                return low + int(found.argmax())
        return None

    def _add_squares(self, numbers: Array, start: int) -> float:
        """Add the squares of whole rows, and return their sum."""
        return self._add_norms(partial(sums_of_squares, numbers.reshape(-1, self.row)), start)

    def _add_norms(self, sums: Callable[[int], Array], start: int) -> float:
        """Add to the squares of rows and columns, given a chunk's sums along an axis; return the total."""
        assert self.rows is not None
        rows, first = sums(1), start // self.row
        self.rows[first : first + len(rows)] = rows
        if self.columns is not None:
            columns = sums(0)
            with self.lock:
                self.columns += columns
        return float(rows.sum())

    def count(self, bits: Array, start: int, own: Moments) -> None:
        """Count the numbers of a chunk below each edge; NaN is below none."""
        numbers = _real(numbers_of(bits, self.info.dtype))
        if numbers.dtype.kind != "f":
            numbers = numbers.astype(np.float64)
        edges = self.edges.astype(numbers.dtype)  # compares fastest
        if numbers.size <= _FEW:
            below = list(np.count_nonzero(numbers < edges[:, None], axis=1))
        else:
            below = [np.count_nonzero(numbers < edge) for edge in edges]
        with self.lock:
            self.below += np.array(below)

    def result(self) -> TensorStats:
        """Return the statistics."""
        found, info = self.moments, self.info
        many = found.count > 1
        return TensorStats(
            info.name,
            info.kind,
            info.shape,
            info.dtype,
            info.elements,
            min=_finite(found.low),
            max=_finite(found.high),
            mean=_finite(found.mean) if found.count else None,
            std=_finite(math.sqrt(found.squares / (found.count - 1))) if many else None,
            zeros=found.zeros,
            nan=found.nan,
            inf=found.inf,
            first_nan=_index(found.first_nan, info),
            first_inf=_index(found.first_inf, info),
            histogram=self._histogram(),
            rows=_norms(self.rows),
            columns=_norms(self.columns),
        )

    def _histogram(self) -> tuple[int, ...]:
        if not len(self.edges):
            return ()
        # Negative infinity is below every edge, but in no bin.
        below = [0, *(int(count) - self.moments.minus_inf for count in self.below), self.moments.count]
        return tuple(high - low for low, high in pairwise(below))


def _edges(moments: Moments) -> Array:
    """Return the inner edges of the histogram's bins; none if all values are equal."""
    if not moments.low < moments.high:
        return np.empty(0)
    # Halved, since the range of float64 values can exceed a float64.
    half = (moments.high / 2 - moments.low / 2) / BINS
    return np.array([moments.low + 2 * half * number for number in range(1, BINS)])


def _real(numbers: Array) -> Array:
    """Return the absolute values of complex numbers, in float64 since float32 may overflow."""
    return np.asarray(np.abs(numbers.astype(np.complex128))) if numbers.dtype.kind == "c" else numbers


def _singles(bits: Array, dtype: str) -> Array:
    """Return elements of one or two bytes as float32."""
    return np.asarray(numbers_of(bits, dtype).astype(np.float32, copy=False))


def _norms(squares: Array | None) -> Norms | None:
    if squares is None or not squares.size:
        return None
    norms = np.sqrt(squares)
    finite = np.where(np.isnan(norms), math.inf, norms)
    least, most = int(finite.argmin()), int(finite.argmax())
    return Norms(
        _finite(float(finite[least])),
        _finite(float(np.median(finite))),
        _finite(float(finite[most])),
        least,
        most,
    )


def _index(flat: int | None, info: TensorInfo) -> tuple[int, ...]:
    """Return the index of an element in its tensor; a flat one if two elements share a byte."""
    if flat is None:
        return ()
    if info.dtype in PACKED:
        return (flat,)
    found = []
    for size in reversed(info.shape):
        flat, index = divmod(flat, size)
        found.append(index)
    return tuple(reversed(found))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
