"""Validates that every tensor's data is complete and every number finite."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import msgspec
import numpy as np

from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint, TensorInfo, can_require_grad
from freezetui.checkpoint.weights import Weights
from freezetui.diff.compare import ALWAYS_VIEWED, MAX_VIEWS
from freezetui.diff.dtypes import numbers_of
from freezetui.diff.report import ABSENT
from freezetui.diff.rewritten import refuse_rewritten
from freezetui.diff.sums import CHUNK
from freezetui.diff.threads import Job, Progress, run_jobs, spans
from freezetui.diff.validate_report import Problem, Validation
from freezetui.diff.values import TensorValues, UnreadableError, values_of
from freezetui.errors import CheckpointError
from freezetui.numbers import plural

_JOB = 1 << 23


@dataclass
class _Stored:
    """One storage of an archive, and its recorded checksum."""

    raw: memoryview
    checksum: int
    weights: Weights
    is_corrupt: bool = False

    def check(self) -> None:
        """Compute and compare the checksum, piece by piece."""
        crc = 0
        for low, high in spans(len(self.raw), _JOB):
            piece = np.frombuffer(self.raw[low:high], np.uint8)
            with self.weights.filled(piece.ctypes.data, high - low):
                crc = zlib.crc32(piece.data, crc)
        self.is_corrupt = crc != self.checksum


@dataclass
class _Looked:
    """What the jobs on one tensor found; shared by tied names."""

    info: TensorInfo
    values: TensorValues
    stored: _Stored | None
    nan: int = 0
    inf: int = 0
    lock: Lock = field(default_factory=Lock)

    def look(self, start: int, stop: int) -> None:
        """Count the elements in a range that are not finite."""
        for low, high in spans(stop - start, CHUNK):
            numbers = numbers_of(self.values.chunk(start + low, start + high), self.info.dtype)
            if not np.isfinite(numbers).all():
                nan, inf = np.isnan(numbers), np.isinf(numbers)
                with self.lock:
                    self.nan += int(np.count_nonzero(nan))
                    self.inf += int(np.count_nonzero(inf & ~nan))


def validate(checkpoint: Checkpoint, progress: Progress = lambda text: None) -> Validation:
    """Read all the data of a checkpoint once.

    Compares checksums if the archive has them: torch can omit them, and safetensors and the legacy format
    have none.

    Raises:
        CheckpointError: a file cannot be opened.
    """
    # What is missing is named here, tensor by tensor.
    checkpoint = msgspec.structs.replace(checkpoint, incomplete="")
    with open_weights(checkpoint, urls=True) as weights:
        found = _found(checkpoint, weights)
        looked = list({id(each): each for each in found if isinstance(each, _Looked)}.values())
        stored = list({id(each.stored): each.stored for each in looked if each.stored is not None}.values())
        total = sum(each.values.nbytes for each in looked) + sum(len(each.raw) for each in stored)
        run_jobs(_jobs(looked, stored), total, "reading", progress, in_order=weights.remote is not None)
    refuse_rewritten(checkpoint)
    results = list(zip(checkpoint.tensors, found, strict=True))
    problems = tuple(problem for info, each in results for problem in _problems(info, each))
    problems += tuple(Problem(name, "missing", ABSENT) for name in checkpoint.absent)
    return Validation(
        checkpoint.source,
        checkpoint.format,
        not problems,
        len(checkpoint.tensors) + len(checkpoint.absent),
        sum(isinstance(each, _Looked) and each.stored is not None for each in found),
        problems,
        tuple(info.name for info, each in results if _is_unread(each)),
        checkpoint.warnings,
    )


def _found(checkpoint: Checkpoint, weights: Weights) -> list[_Looked | CheckpointError]:
    """Return the data of each tensor, or why it is missing."""
    known: dict[object, _Looked] = {}
    storages: dict[str, _Stored] = {}
    found: list[_Looked | CheckpointError] = []
    budget = MAX_VIEWS * checkpoint.size + ALWAYS_VIEWED
    for info in checkpoint.tensors:
        key = info.storage and (info.storage, info.shape, info.dtype, info.packing)
        if key and key in known:
            found.append(known[key])
            continue
        try:
            each = _Looked(info, values_of(weights, info), _stored(weights, info, storages))
        except CheckpointError as error:
            found.append(error)
            continue
        budget -= each.values.nbytes
        if budget < 0:
            found.append(UnreadableError("too many tensors view the same bytes"))
            continue
        if key:
            known[key] = each
        found.append(each)
    return found


def _stored(weights: Weights, info: TensorInfo, storages: dict[str, _Stored]) -> _Stored | None:
    """Return the storage of a tensor, if it is one block in an archive with checksums."""
    if info.storage is None or info.packing is not None:
        return None
    key = info.storage.key
    if key not in storages:
        checksum = weights.checksum(info)
        if not checksum:
            return None
        storages[key] = _Stored(weights.storage(info), checksum, weights)
    return storages[key]


def _jobs(looked: Iterable[_Looked], stored: Iterable[_Stored]) -> Iterator[Job]:
    for storage in stored:
        yield Job(storage.check, len(storage.raw))
    for each in looked:
        if each.values.is_numeric and can_require_grad(each.info.dtype):
            step = max(1, _JOB * each.values.elements // max(1, each.values.nbytes))
            for start, stop in spans(each.values.elements, step):
                nbytes = each.values.nbytes * (stop - start) // each.values.elements
                yield Job(partial(each.look, start, stop), nbytes)


def _problems(info: TensorInfo, found: _Looked | CheckpointError) -> Iterator[Problem]:
    if isinstance(found, CheckpointError):
        if not isinstance(found, UnreadableError):
            yield Problem(info.name, "missing", found.message)
        return
    if found.stored is not None and found.stored.is_corrupt:
        yield Problem(info.name, "checksum", "its bytes do not match the checksum")
    for what, count in (("NaN", found.nan), ("Inf", found.inf)):
        if count:
            yield Problem(info.name, what, f"{count:,} of {plural(info.elements, 'value')}")


def _is_unread(found: _Looked | CheckpointError) -> bool:
    return isinstance(found, UnreadableError) or (isinstance(found, _Looked) and not found.values.is_numeric)
