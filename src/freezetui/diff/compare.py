"""Compares two checkpoints in place: first whether each tensor differs, then by how much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from freezetui.checkpoint.storage import Weights, open_weights
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.looks import tensor_diff, unread
from freezetui.diff.matching import Matching, Pair, match
from freezetui.diff.measure import CHUNK, Sums, measure_bits, measure_cast, row_of
from freezetui.diff.report import TensorDiff
from freezetui.diff.threads import Job, Progress, run_jobs, spans
from freezetui.diff.values import TensorValues, values_of
from freezetui.errors import CheckpointError

#: Bytes of a job, and of each comparison in it.
_JOB, _AT_ONCE = 1 << 23, 1 << 17
#: Many names may view the same bytes: at most this many times the file size is read, plus a fixed amount.
MAX_VIEWS, ALWAYS_VIEWED = 16, 1 << 26


@dataclass
class _Compared:
    """The values of one tensor on both sides; shared by names that are tied on both."""

    before: TensorInfo
    after: TensorInfo
    one: TensorValues
    other: TensorValues
    differs: bool = False
    sums: Sums = field(default_factory=Sums)

    @property
    def is_cast(self) -> bool:
        return self.before.dtype != self.after.dtype

    @property
    def is_counted(self) -> bool:
        """Whether both sides can be read as numbers."""
        return self.one.is_numeric and self.other.is_numeric


def compare(
    before: Checkpoint, after: Checkpoint, progress: Progress = lambda text: None
) -> tuple[Matching, tuple[TensorDiff, ...]]:
    """Return the tensors of two checkpoints, matched by name, and what changed in each.

    Unpickles nothing, copies only a few chunks, and uses a few threads.

    Raises:
        CheckpointError: the bytes of one cannot be read.
    """
    matching = match(before.tensors, after.tensors)
    with open_weights(before) as here, open_weights(after) as there:
        found = _opened(matching.pairs, here, there, MAX_VIEWS * (before.size + after.size) + ALWAYS_VIEWED)
        work = list({id(each): each for each in found if isinstance(each, _Compared)}.values())
        same = [each for each in work if not each.is_cast]
        run_jobs(_scans(same), sum(each.one.nbytes for each in same), "comparing", progress)
        changed = [each for each in work if (each.differs or each.is_cast) and each.is_counted]
        run_jobs(_measures(changed), sum(each.one.nbytes for each in changed), "measuring", progress)
    return matching, tuple(map(_result, matching.pairs, found))


def same_bits(checkpoint: Checkpoint, couples: Iterable[tuple[TensorInfo, TensorInfo]]) -> list[bool]:
    """Return, for each couple of tensors of one checkpoint, whether their bits are the same."""
    with open_weights(checkpoint) as weights:
        found = []
        for one, other in couples:
            try:
                each = _Compared(one, other, values_of(weights, one), values_of(weights, other))
            except CheckpointError:
                found.append(False)
                continue
            _scan(each, 0, each.one.elements)
            found.append(not each.differs)
        return found


def _opened(
    pairs: Sequence[Pair], here: Weights, there: Weights, budget: int
) -> list[_Compared | str | None]:
    """Return each pair's values, why they cannot be compared, or None if there is nothing to compare."""
    known: dict[object, _Compared] = {}
    found: list[_Compared | str | None] = []
    for _, before, after in pairs:
        if before is None or after is None or before.shape != after.shape:
            found.append(None)
            continue
        tie = before.storage and after.storage and (before.storage, after.storage, before.shape)
        key = tie and (tie, before.dtype, after.dtype, before.packing, after.packing)
        if key and key in known:
            found.append(known[key])
            continue
        try:
            each = _Compared(before, after, values_of(here, before), values_of(there, after))
        except CheckpointError as error:
            found.append(error.message)
            continue
        budget -= each.one.nbytes + each.other.nbytes
        if budget < 0:
            found.append("too many tensors view the same bytes")
        elif each.is_cast and not each.is_counted:
            found.append(f"{before.dtype} and {after.dtype} cannot be compared")
        else:
            each.differs = not each.is_cast and each.one.nbytes != each.other.nbytes
            if key:
                known[key] = each
            found.append(each)
    return found


def _scans(work: Iterable[_Compared]) -> Iterator[Job]:
    """Yield jobs that find the tensors that differ; small tensors share a job."""
    batch: list[_Compared] = []
    nbytes = 0
    for each in work:
        if each.one.nbytes > _JOB // 4:
            step = _JOB // (each.one.nbytes // each.one.elements)
            for start, stop in spans(each.one.elements, step):
                yield _scan_job([each], start, stop, each.one.nbytes * (stop - start) // each.one.elements)
            continue
        batch.append(each)
        nbytes += each.one.nbytes
        if nbytes > _JOB or len(batch) == 1000:
            yield _scan_job(batch, 0, 0, nbytes)
            batch, nbytes = [], 0
    yield _scan_job(batch, 0, 0, nbytes)


def _scan_job(batch: list[_Compared], start: int, stop: int, nbytes: int) -> Job:
    """Return a job for a range of one tensor, or for several whole tensors if `stop` is 0."""

    def work() -> None:
        for each in batch:
            _scan(each, start, stop or each.one.elements)

    return Job(work, nbytes)


def _scan(each: _Compared, start: int, stop: int) -> None:
    """Look for a difference; stop once any thread has found one."""
    if start == stop or each.differs:
        return
    step = max(1, _AT_ONCE * each.one.elements // each.one.nbytes)
    for low, high in ((start + low, start + high) for low, high in spans(stop - start, step)):
        if each.differs:
            return
        one, other = each.one.chunk(low, high), each.other.chunk(low, high)
        if not np.array_equal(one.view(np.uint8), other.view(np.uint8)):
            each.differs = True


def _measures(work: Iterable[_Compared]) -> Iterator[Job]:
    """Yield jobs that measure the tensors that differ."""
    for each in work:
        row = row_of(each.before) or 1
        itemsize = max(1, each.one.nbytes // max(1, each.one.elements))
        step = max(1, _JOB // itemsize // row) * row
        lock = Lock()
        for start, stop in spans(each.one.elements, step):
            yield _measure_job(each, start, stop, lock, itemsize * (stop - start))


def _measure_job(each: _Compared, start: int, stop: int, lock: Lock, nbytes: int) -> Job:
    def work() -> None:
        sums = Sums()
        row = row_of(each.before)
        step = CHUNK // row * row if row else CHUNK
        for low, high in ((start + low, start + high) for low, high in spans(stop - start, step)):
            one, other = each.one.chunk(low, high), each.other.chunk(low, high)
            if each.is_cast:
                measure_cast(one, other, (each.before.dtype, each.after.dtype), sums)
            else:
                measure_bits(one, other, each.before.dtype, row, sums)
        with lock:
            each.sums.add(sums)

    return Job(work, nbytes)


def _result(pair: Pair, found: _Compared | str | None) -> TensorDiff:
    if isinstance(found, str):
        return unread(pair, found)
    if found is None:
        return tensor_diff(pair, None, False)
    return tensor_diff(pair, found.sums if found.is_counted else None, found.differs)
