"""Runs the diff of two checkpoints, from their headers to the verdict, and of a series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.diff.compare import compare
from freezetui.diff.matching import Matching
from freezetui.diff.order import in_order
from freezetui.diff.report import DiffReport, Judged, Series, Side, TensorDiff
from freezetui.diff.threads import Progress

if TYPE_CHECKING:
    from freezetui.diff.plan import Plan


def diff(
    before: Checkpoint,
    after: Checkpoint,
    config: Path | None = None,
    stage: str | None = None,
    progress: Progress = lambda text: None,
) -> DiffReport:
    """Return what changed from one checkpoint to the other.

    Args:
        config: what was frozen, for a verdict; `stage` of its schedule, None for what all stages freeze.

    Raises:
        CheckpointError: the bytes of one cannot be read.
        ConfigError: the config cannot be read, or does not fit `before`.
    """
    before = in_order(before)
    plan = _plan(config, stage, before)
    matching, tensors = compare(before, after, progress)
    tensors, judged = _judged(plan, after, matching, tensors)
    return DiffReport(_side(before), _side(after), matching.note, tensors, judged)


def diff_series(
    checkpoints: Sequence[Checkpoint],
    config: Path | None = None,
    stage: str | None = None,
    progress: Progress = lambda text: None,
) -> Series:
    """Return what changed from each checkpoint to the next.

    Raises:
        CheckpointError, ConfigError: as for `diff`.
    """
    first = in_order(checkpoints[0])
    steps = []
    plan = _plan(config, stage, first)
    previous = first
    for number, checkpoint in enumerate(checkpoints[1:], 1):
        matching, tensors = compare(previous, checkpoint, _numbered(progress, number, len(checkpoints) - 1))
        tensors, judged = _judged(plan, checkpoint, matching, tensors)
        steps.append(DiffReport(_side(previous), _side(checkpoint), matching.note, tensors, judged))
        # With the kinds of the first checkpoint, which the config was applied to.
        kinds = {tensor.name: tensor.kind for tensor in previous.tensors}
        previous = msgspec.structs.replace(
            checkpoint,
            tensors=tuple(
                msgspec.structs.replace(tensor, kind=kinds.get(tensor.name, tensor.kind))
                for tensor in checkpoint.tensors
            ),
        )
    return Series(tuple(steps))


def _plan(config: Path | None, stage: str | None, before: Checkpoint) -> Plan | None:
    """Return the plan if there is a config; YAML is imported only then."""
    if config is None:
        return None
    from freezetui.diff.plan import read_plan

    return read_plan(config, stage, before)


def _judged(
    plan: Plan | None, after: Checkpoint, matching: Matching, tensors: tuple[TensorDiff, ...]
) -> tuple[tuple[TensorDiff, ...], Judged | None]:
    if plan is None:
        return tensors, None
    from freezetui.diff.verdict import judge

    return judge(plan, after, matching, tensors)


def _numbered(progress: Progress, number: int, count: int) -> Progress:
    return lambda text: progress(f"{text}, {number} of {count}")


def _side(checkpoint: Checkpoint) -> Side:
    return Side(checkpoint.source, checkpoint.format, checkpoint.unwrapped)
