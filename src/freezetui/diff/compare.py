"""Two checkpoints compared where their bytes lie: first whether each tensor differs, then by how much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from freezetui.checkpoint.storage import Weights, open_weights
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.dtypes import Array
from freezetui.diff.looks import tensor_diff, unread
from freezetui.diff.matching import Matching, Pair, match
from freezetui.diff.measure import CHUNK, Sums, measure_bits, measure_cast, row_of
from freezetui.diff.report import TensorDiff
from freezetui.diff.threads import Job, Progress, run_jobs, spans
from freezetui.diff.values import TensorValues, values_of
from freezetui.errors import CheckpointError

#: Bytes of a job, and of what is compared at once in it.
_JOB, _AT_ONCE = 1 << 23, 1 << 20
#: Names may view the same bytes again and again: the files are looked at so many times, and this much anyway.
MAX_VIEWS, ALWAYS_VIEWED = 16, 1 << 26


@dataclass
class _Compared:
    """The values of one tensor on both sides; names that are tied on both share it."""

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
    """The tensors of two checkpoints, matched by name, and what changed in each.

    Nothing is unpickled or copied but a few chunks; a few threads share the work.

    Raises:
        CheckpointError: the bytes of one cannot be reached.
    """
    matching = match(before.tensors, after.tensors)
    with open_weights(before) as here, open_weights(after) as there:
        found = _opened(matching.pairs, here, there, MAX_VIEWS * (before.size + after.size) + ALWAYS_VIEWED)
        work = list({id(each): each for each in found if isinstance(each, _Compared)}.values())
        same = [each for each in work if not each.is_cast]
        run_jobs(_scans(same), sum(each.one.nbytes for each in same), "comparing", progress)
        changed = [each for each in work if (each.differs or each.is_cast) and each.is_counted]
        run_jobs(_measures(changed), sum(each.one.nbytes for each in changed), "measuring", progress)
    return matching, tuple(map(_told, matching.pairs, found))


def same_bits(checkpoint: Checkpoint, couples: Iterable[tuple[TensorInfo, TensorInfo]]) -> list[bool]:
    """Whether the two tensors of each couple, of one checkpoint, hold the same bits."""
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
    """The values of each pair; why they cannot be compared; None where there is nothing to compare."""
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
    """Jobs that find out which tensors differ; small tensors together."""
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
    """A range of one tensor, or the whole of several where `stop` is 0."""

    def work() -> None:
        for each in batch:
            _scan(each, start, stop or each.one.elements)

    return Job(work, nbytes)


def _scan(each: _Compared, start: int, stop: int) -> None:
    """Look for a difference; where one was found, nobody goes on."""
    if start == stop or each.differs:
        return
    step = max(1, _AT_ONCE * each.one.elements // each.one.nbytes)
    for low, high in ((start + low, start + high) for low, high in spans(stop - start, step)):
        if each.differs:
            return
        one, other = each.one.chunk(low, high), each.other.chunk(low, high)
        if not _equal(one, other):
            each.differs = True


def _equal(one: Array, other: Array) -> bool:
    """Whether two chunks hold the same bits; eight bytes at a time where they lie so."""
    if one.nbytes % 8 == 0:
        wide, others = one.view(np.uint64), other.view(np.uint64)
        if wide.flags.aligned and others.flags.aligned:
            return np.array_equal(wide, others)
    return np.array_equal(one.view(np.uint8), other.view(np.uint8))


def _measures(work: Iterable[_Compared]) -> Iterator[Job]:
    """Jobs that measure the tensors that differ."""
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


def _told(pair: Pair, found: _Compared | str | None) -> TensorDiff:
    if isinstance(found, str):
        return unread(pair, found)
    if found is None:
        return tensor_diff(pair, None, False)
    return tensor_diff(pair, found.sums if found.is_counted else None, found.differs)
