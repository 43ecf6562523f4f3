"""Compares two checkpoints in place: first whether each tensor differs, then by how much."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from threading import Lock

import msgspec

from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.diff.looks import resized_diff, tensor_diff, unread
from freezetui.diff.matching import Matching, Pair
from freezetui.diff.raw import let_go, raw_of, same_bytes
from freezetui.diff.renaming import Ask, match_renamed
from freezetui.diff.report import ABSENT, TensorDiff
from freezetui.diff.rescaled import is_quantized_on_one_side, is_rescaled, scaled_on_one_side
from freezetui.diff.rewritten import refuse_rewritten
from freezetui.diff.sums import Compared, may_be_resized
from freezetui.diff.threads import Job, Progress, run_jobs, spans
from freezetui.diff.tied import stored_once
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: Bytes of a job, which are compared in one call: a thread that returns from one waits for the GIL.
_JOB = 1 << 24
#: Bytes at the start of a large tensor that are compared before the rest of any.
_START = 1 << 14
#: Many names may view the same bytes: at most this many times the file size is read, plus a fixed amount.
MAX_VIEWS, ALWAYS_VIEWED = 16, 1 << 26

_BLAS = "OPENBLAS_NUM_THREADS"
#: Taken by the first difference, and kept.
_IMPORTED = Lock()

#: One tensor, and its bytes on both sides.
_Bytes = tuple[Compared, memoryview, memoryview]


def compare(
    before: Checkpoint, after: Checkpoint, progress: Progress = lambda text: None, ask: Ask | None = None
) -> tuple[Matching, tuple[TensorDiff, ...]]:
    """Return the tensors of two checkpoints, matched by name, and what changed in each.

    Unpickles nothing, copies only a few chunks, and uses a few threads.

    Args:
        ask: for the names of the live model, see `match_renamed`.

    Raises:
        CheckpointError: the bytes of one cannot be read.
    """
    matching = match_renamed(before, after, ask, partial(_same_bytes, before, after))
    once = stored_once(matching, before, after)
    found = _to_compare(matching.pairs, MAX_VIEWS * (before.size + after.size) + ALWAYS_VIEWED)
    work = list({id(each): each for each in found if each is not None and not each.reason}.values())
    # What is missing on one side is reported tensor by tensor; the rest is compared.
    before, after = (msgspec.structs.replace(each, incomplete="") for each in (before, after))
    with open_weights(before, urls=True) as here, open_weights(after, urls=True) as there:
        _compare(work, here, there, progress)
    refuse_rewritten(before, after)
    elsewhere = (matching.names_before(name) for name in after.absent)
    absent = frozenset(before.absent), frozenset(chain.from_iterable(elsewhere))
    return matching._replace(absent=_absent(matching, before, after)), tuple(
        unread(pair, ABSENT) if _is_absent(pair, *absent) else _result(pair, each, once)
        for pair, each in zip(matching.pairs, found, strict=True)
    )


def same_bits(checkpoint: Checkpoint, couples: Iterable[tuple[TensorInfo, TensorInfo]]) -> list[bool]:
    """Return, for each couple of tensors of one checkpoint, whether their bits are the same."""
    work = [Compared(one, other) for one, other in couples]
    with open_weights(checkpoint, urls=True) as weights:
        _compare(work, weights, weights, lambda text: None)
    return [not (each.differs or each.reason) for each in work]


def _same_bytes(
    before: Checkpoint, after: Checkpoint, couples: Sequence[tuple[TensorInfo, TensorInfo]]
) -> list[bool]:
    """Return whether tensors have the same bytes; False where that is not known without much reading."""
    if any(is_url(part.source) for part in (*before.parts, *after.parts)):
        return [False] * len(couples)
    work = [Compared(one, other) for one, other in couples]
    odd: list[Compared] = []
    before, after = (msgspec.structs.replace(each, incomplete="") for each in (before, after))
    with open_weights(before) as here, open_weights(after) as there:
        total = sum(each.before.bytes for each in work)
        run_jobs(_scans(work, here, there, odd), total, "comparing", lambda text: None)
    unknown = set(map(id, odd))
    return [not (each.differs or each.reason or id(each) in unknown) for each in work]


def _to_compare(pairs: Sequence[Pair], budget: int) -> list[Compared | None]:
    """Return what to compare of each pair; None if there is nothing.

    Args:
        budget: bytes that may be read.
    """
    known: dict[object, Compared] = {}
    found: list[Compared | None] = []
    scaled = scaled_on_one_side(pairs)
    for pair in pairs:
        _, before, after = pair
        if before is None or after is None:
            found.append(None)
            continue
        if before.shape != after.shape and not may_be_resized(before, after):
            found.append(None)
            continue
        tie = before.storage and after.storage and (before.storage, after.storage, before.shape, after.shape)
        key = tie and (tie, before.dtype, after.dtype, before.packing, after.packing)
        each = known.get(key) if key else None
        if each is None:
            each = Compared(before, after, reason=_differently_stored(before, after))
            if is_quantized_on_one_side(pair, scaled):
                each.reason = f"{before.dtype} and {after.dtype} cannot be compared: one has a scale"
            budget -= before.bytes + after.bytes
            if budget < 0:
                each.reason = "too many tensors view the same bytes"
            if key:
                known[key] = each
        found.append(each)
    return found


def _compare(work: Sequence[Compared], here: Weights, there: Weights, progress: Progress) -> None:
    """Find the tensors that differ, and measure them; both in one pass if a side is behind a URL."""
    _find_rescaled(work, here, there)
    far = there if there.remote is not None else here
    if far.remote is not None:
        from freezetui.diff.measuring import measures

        work = sorted(work, key=lambda each: far.position(each.after if far is there else each.before))
        total = sum(each.before.bytes for each in work)
        run_jobs(measures(work, here, there), total, "comparing", progress, in_order=True)
        return
    odd: list[Compared] = []
    run_jobs(_scans(work, here, there, odd), sum(each.before.bytes for each in work), "comparing", progress)
    differing = [each for each in work if each.differs]
    if differing or odd:
        from freezetui.diff.measuring import measures

        left = [*differing, *odd]
        total = sum(each.before.bytes for each in left)
        run_jobs(measures(left, here, there), total, "measuring", progress)


def _differently_stored(before: TensorInfo, after: TensorInfo) -> str:
    """Return why two tensors of one dtype cannot be compared by their bytes; "" if they can.

    A matrix has the bytes as CSR that its transpose has as CSC; a dense tensor has others than a sparse one.
    """
    one, other = (printable(info.packing.what) if info.packing else "dense" for info in (before, after))
    if one == other or before.dtype != after.dtype:
        return ""
    return f"a tensor that is {one} and one that is {other} cannot be compared"


def _find_rescaled(work: Iterable[Compared], here: Weights, there: Weights) -> None:
    for each in work:
        if each.before.storage is not None and each.before.storage.read_as:
            try:
                each.differs = is_rescaled(each, here, there)
            except CheckpointError as error:
                each.reason = error.message


def _scans(work: Iterable[Compared], here: Weights, there: Weights, odd: list[Compared]) -> Iterator[Job]:
    """Yield jobs that find the tensors that differ.

    Small ones, which share jobs, and the starts of large ones come first, so that the slow import of what
    measures a difference begins early.

    Args:
        odd: receives the tensors that are not two blocks of bytes of one dtype.
    """
    batch: list[_Bytes] = []
    large: list[_Bytes] = []
    nbytes = 0
    for each in work:
        found = _bytes_of(each, here, there)
        if found is None:
            if not each.reason:
                odd.append(each)
            continue
        size = len(found[1])
        if size > _JOB // 8:
            large.append(found)
            continue
        batch.append(found)
        nbytes += size
        if nbytes > _JOB or len(batch) == 1000:
            yield Job(partial(_scan_all, batch), nbytes)
            batch, nbytes = [], 0
    yield Job(partial(_scan_all, batch), nbytes)
    for found in large:
        yield Job(partial(_scan, found, 0, _START), _START)
    for found in large:
        for start, stop in spans(len(found[1]) - _START, _JOB):
            yield Job(partial(_scan, found, _START + start, _START + stop), stop - start)


def _bytes_of(each: Compared, here: Weights, there: Weights) -> _Bytes | None:
    """Return a tensor with its bytes, if it is one block on both sides and of one dtype."""
    if each.is_cast:
        return None
    try:
        one, other = raw_of(here, each.before), raw_of(there, each.after)
    except CheckpointError as error:
        each.reason = error.message
        return None
    if one is None or other is None:
        return None
    size = min(len(one), len(other))  # they differ only if one side has more rows
    return each, one[:size], other[:size]


def _scan_all(batch: Iterable[_Bytes]) -> None:
    for found in batch:
        _scan(found, 0, len(found[1]))


def _scan(found: _Bytes, start: int, stop: int) -> None:
    """Look for a difference in a range of bytes, unless any thread has found one."""
    each, one, other = found[0], found[1][start:stop], found[2][start:stop]
    if each.differs:
        return
    if same_bytes(one, other):
        let_go(one)
        let_go(other)
        return
    each.differs = True
    _import_measuring()


def _import_measuring() -> None:
    """Import what measures a difference: needed soon, and slow; other threads keep comparing."""
    if not _IMPORTED.acquire(blocking=False):
        return  # another call has imported it, or is about to
    # numpy would start threads for linear algebra, which takes time and memory and is not used here.
    is_set = _BLAS in os.environ
    os.environ.setdefault(_BLAS, "1")
    import_module("freezetui.diff.measuring")
    if not is_set:
        del os.environ[_BLAS]


def _is_absent(pair: Pair, before: frozenset[str], after: frozenset[str]) -> bool:
    """Whether the side that lacks a tensor has it, in a file that is missing."""
    if pair.before is not None and pair.after is not None:
        return False
    return pair.name in (after if pair.after is None else before)


def _absent(matching: Matching, before: Checkpoint, after: Checkpoint) -> tuple[str, ...]:
    """Return the names that a side lists in its index and that no pair is of."""
    listed = dict.fromkeys((*before.absent, *after.absent))
    if not listed:
        return ()
    known = {pair.name for pair in matching.pairs}
    known.update(pair.after.name for pair in matching.pairs if pair.after is not None)
    return tuple(name for name in listed if known.isdisjoint(matching.names_before(name)))


def _result(pair: Pair, found: Compared | None, once: Mapping[str, str]) -> TensorDiff:
    """Return the diff of a tensor.

    Args:
        once: see `stored_once`.
    """
    if found is None:
        reason = f"tied to {once[pair.name]}, stored once" if pair.name in once else ""
        return msgspec.structs.replace(tensor_diff(pair, None, False), reason=reason)
    if found.reason:
        return unread(pair, found.reason)
    look = resized_diff if found.is_resized else tensor_diff
    return look(pair, found.sums, found.differs)
