"""Runs the diff of two checkpoints, from their headers to the verdict, and of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.diff.compare import compare
from freezetui.diff.matching import Matching
from freezetui.diff.order import in_order
from freezetui.diff.renaming import Ask
from freezetui.diff.report import DiffReport, Judged, Series, Side, TensorDiff
from freezetui.diff.threads import Progress
from freezetui.errors import ConfigError
from freezetui.numbers import plural

if TYPE_CHECKING:
    from freezetui.diff.plan import Plan


def diff(
    before: Checkpoint,
    after: Checkpoint,
    config: Path | None = None,
    stage: str | None = None,
    progress: Progress = lambda text: None,
    ask: Ask | None = None,
) -> DiffReport:
    """Return what changed from one checkpoint to the other, judged once; see `diff_stages`."""
    return diff_stages(before, after, config, stage, progress, ask)[0]


def diff_stages(
    before: Checkpoint,
    after: Checkpoint,
    config: Path | None = None,
    stage: str | None = None,
    progress: Progress = lambda text: None,
    ask: Ask | None = None,
) -> list[DiffReport]:
    """Return what changed from one checkpoint to the other, with a report for each verdict.

    Args:
        config: what was frozen, for a verdict; `stage` of its schedule, None for what all stages freeze,
            "all" for a verdict on each.
        ask: for the names of the live model, see `match_renamed`.

    Raises:
        CheckpointError: the bytes of one cannot be read.
        ConfigError: the config cannot be read, or does not fit `before`.
    """
    before = in_order(before)
    plans = _plans(config, stage, before)
    matching, compared = compare(before, after, progress, ask)
    reports = []
    for plan in plans:
        tensors, judged = _judged(plan, before, after, matching, compared)
        reports.append(_report(before, after, matching, tensors, judged))
    return reports


def diff_series(
    checkpoints: Sequence[Checkpoint],
    config: Path | None = None,
    stage: str | None = None,
    progress: Progress = lambda text: None,
    ask: Ask | None = None,
) -> Series:
    """Return what changed from each checkpoint to the next.

    Args:
        stage: as for `diff_stages`; with "all", there must be one checkpoint after each stage.

    Raises:
        CheckpointError, ConfigError: as for `diff_stages`.
    """
    first = in_order(checkpoints[0])
    steps = []
    plans = _plans(config, stage, first)
    if len(plans) > 1 and len(plans) != len(checkpoints) - 1:
        raise ConfigError(
            f"{config} has {plural(len(plans), 'stage')}, but there are {len(checkpoints) - 1:,} steps.",
            "Pass the checkpoint that training began with, then one for the end of each stage.",
        )
    previous = first
    known: dict[str, str] = {}
    for number, checkpoint in enumerate(checkpoints[1:], 1):
        told = _numbered(progress, number, len(checkpoints) - 1)
        matching, tensors = compare(previous, checkpoint, told, ask)
        matching, tensors = _in_first_names(matching, tensors, known)
        known = {pair.after.name: pair.name for pair in matching.pairs if pair.after is not None}
        tensors, judged = _judged(plans[(number - 1) % len(plans)], previous, checkpoint, matching, tensors)
        steps.append(_report(previous, checkpoint, matching, tensors, judged))
        # With the kinds of the first checkpoint, which the config was applied to.
        kinds = {pair.after.name: pair.before.kind for pair in matching.pairs if pair.before and pair.after}
        previous = msgspec.structs.replace(
            checkpoint,
            tensors=tuple(
                msgspec.structs.replace(tensor, kind=kinds.get(tensor.name, tensor.kind))
                for tensor in checkpoint.tensors
            ),
        )
    return Series(tuple(steps))


def _plans(config: Path | None, stage: str | None, before: Checkpoint) -> Sequence[Plan | None]:
    """Return the plans if there is a config; YAML is imported only then."""
    if config is None:
        return [None]
    from freezetui.diff.plan import read_plans

    return read_plans(config, stage, before)


def _judged(
    plan: Plan | None,
    before: Checkpoint,
    after: Checkpoint,
    matching: Matching,
    tensors: tuple[TensorDiff, ...],
) -> tuple[tuple[TensorDiff, ...], Judged | None]:
    if plan is None:
        return tensors, None
    from freezetui.diff.verdict import judge

    return judge(plan, before, after, matching, tensors)


def _in_first_names(
    matching: Matching, tensors: tuple[TensorDiff, ...], known: Mapping[str, str]
) -> tuple[Matching, tuple[TensorDiff, ...]]:
    """Return the outcome of a step under the names of the first checkpoint, which the config speaks of.

    Args:
        known: name in the step's BEFORE -> in the first checkpoint.
    """
    if all(name == first for name, first in known.items()):
        return matching, tensors
    taken = set(known.values())
    names = []
    for pair in matching.pairs:
        name = known.get(pair.name) if pair.before is not None else None
        if name is None:
            name = pair.name
            while name in taken:
                name += " (new)"
            taken.add(name)
        names.append(name)
    pairs = tuple(pair._replace(name=name) for pair, name in zip(matching.pairs, names, strict=True))
    return matching._replace(pairs=pairs), tuple(
        msgspec.structs.replace(tensor, name=name) for tensor, name in zip(tensors, names, strict=True)
    )


def _numbered(progress: Progress, number: int, count: int) -> Progress:
    return lambda text: progress(f"{text}, {number} of {count}")


def _report(
    before: Checkpoint,
    after: Checkpoint,
    matching: Matching,
    tensors: tuple[TensorDiff, ...],
    judged: Judged | None,
) -> DiffReport:
    return DiffReport(_side(before), _side(after), matching.note, tensors, judged, matching.absent)


def _side(checkpoint: Checkpoint) -> Side:
    # A warning names the other state_dicts.
    skipped = tuple(entry.key for entry in checkpoint.skipped if entry.key not in checkpoint.choices)
    return Side(checkpoint.source, checkpoint.format, checkpoint.unwrapped, checkpoint.warnings, skipped)
