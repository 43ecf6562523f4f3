"""Makes the jobs that measure how much tensors differ; if they are not blocks of bytes, also whether."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Lock

import numpy as np

from freezetui.checkpoint.types import TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.diff.measure import measure_bits, measure_cast
from freezetui.diff.sums import CHUNK, Compared, Sums, row_of
from freezetui.diff.threads import Job, spans
from freezetui.diff.values import TensorValues, values_of
from freezetui.errors import CheckpointError

_JOB = 1 << 23
_SUMMED = Lock()

#: The elements of a tensor before and after.
_Values = tuple[TensorValues, TensorValues]


def measures(work: Iterable[Compared], here: Weights, there: Weights) -> Iterator[Job]:
    """Yield jobs that set `sums`, `differs` and, for a tensor that cannot be compared, `reason`."""
    for each in work:
        try:
            one, other = values_of(here, each.before), values_of(there, each.after)
        except CheckpointError as error:
            each.reason = error.message
            continue
        counted = one.is_numeric and other.is_numeric
        if each.is_cast and not counted:
            each.reason = f"{each.before.dtype} and {each.after.dtype} cannot be compared"
        elif _is_coo(each.before) and not _same_start(one, other):
            each.reason = (
                "sparse_coo tensors whose indices are stored differently may still have the same values"
            )
        elif one.elements != other.elements and not each.is_resized:
            each.differs = True
        elif counted:
            each.sums = Sums()
            row = row_of(each.before) or 1
            yield from _jobs(_measure, each, (one, other), row)
        else:
            # The indices of a sparse tensor are the same: see above.
            yield from _jobs(_scan, each, (one, other), 1, one.first if _is_coo(each.before) else 0)


def _is_coo(info: TensorInfo) -> bool:
    """Whether a tensor is stored as indices, in any order, and their values."""
    return info.packing is not None and info.packing.what == "sparse_coo"


def _same_start(one: TensorValues, other: TensorValues) -> bool:
    """Whether the first parts of two tensors are the same: the indices of a sparse one."""
    return one.first == other.first and all(
        np.array_equal(one.chunk(low, high), other.chunk(low, high)) for low, high in spans(one.first, CHUNK)
    )


def _jobs(
    look: Callable[[Compared, _Values, int, int], None],
    each: Compared,
    values: _Values,
    row: int,
    first: int = 0,
) -> Iterator[Job]:
    """Yield a job for every few megabytes of a tensor, in whole rows; of the rows that both sides have.

    Args:
        first: the element to begin with.
    """
    one = values[0]
    itemsize = max(1, one.nbytes // max(1, one.elements))
    count = min(each.elements for each in values) - first
    for start, stop in spans(count, max(1, _JOB // itemsize // row) * row):
        yield Job(partial(look, each, values, first + start, first + stop), itemsize * (stop - start))


def _measure(each: Compared, values: _Values, start: int, stop: int) -> None:
    one, other = values
    row = row_of(each.before)
    assert each.sums is not None
    sums = each.sums.begun()
    step = CHUNK // row * row if row else CHUNK
    for low in range(start, stop, step):
        high = min(low + step, stop)
        if each.is_cast:
            dtypes = each.before.dtype, each.after.dtype
            measure_cast(one.chunk(low, high), other.chunk(low, high), dtypes, sums)
        else:
            measure_bits(one.chunk(low, high), other.chunk(low, high), each.before.dtype, row, sums)
    with _SUMMED:
        each.sums.add(sums)
        each.differs = each.differs or sums.changed > 0


def _scan(each: Compared, values: _Values, start: int, stop: int) -> None:
    one, other = values
    for low in range(start, stop, CHUNK):
        high = min(low + CHUNK, stop)
        if each.differs or not np.array_equal(one.chunk(low, high), other.chunk(low, high)):
            each.differs = True
            return
