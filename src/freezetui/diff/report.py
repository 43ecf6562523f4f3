"""DiffReport: what changed between two checkpoints. Does not import numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from freezetui.checkpoint.types import Kind
from freezetui.numbers import plural
from freezetui.sanity.report import EXIT_CODES, BufferPart, Finding, Verdict, worst

Status = Literal["identical", "cast", "changed", "reshaped", "added", "removed", "unread"]
STATUSES: tuple[Status, ...] = ("identical", "cast", "changed", "reshaped", "added", "removed", "unread")

_TROUBLE = 2
#: Why a tensor that an index lists is not compared.
ABSENT = "listed in the index, but in none of the files"


class Side(msgspec.Struct, frozen=True):
    """One of the two checkpoints.

    Attributes:
        unwrapped: what was stripped from its names.
        warnings: from opening it, such as other state_dicts in the file, which are not compared.
        skipped: what else it contains, and is not compared: optimizer, epoch and the like.
    """

    source: str
    format: str
    unwrapped: str
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class TensorDiff(msgspec.Struct, frozen=True, omit_defaults=False):
    """One tensor, before and after.

    Attributes:
        name: in BEFORE; see `matching.Pair`.
        status: "identical" bit for bit; "cast": of a different dtype, and equal after a cast; "changed";
            "reshaped"; "added", "removed": on one side only; "unread": not compared, see `reason`.
        shape, dtype, elements: before; for an added tensor, after.
        new_name, new_shape, new_dtype: after, if different; else "" and None.
        frozen: whether the config freezes it; None without a config, and for what cannot train.
        changed: elements that differ; None if they were not counted, such as packed bytes.
        max_delta: max |delta|; delta_norm, norm: L2 norms of the change and of the weight before; relative:
            their ratio. Over the elements that are finite on both sides; None if that is not a number.
        nan, inf: elements that became NaN or infinite; from_nan, from_inf: that were, and became finite.
        rows, rows_changed: for a tensor of several dimensions, the number of rows (indices of the first
            dimension) and of those that differ. For a reshaped one of which one side has more rows: the
            number of leading rows that both have, and of those that differ; then `changed`, `max_delta` and
            the like are over these rows, too.
        looks: what the change looks like: "decay", "rounding", "cast and back", "same values", "some
            rows", "tied" or "".
        factor: for decay, the factor that all elements were multiplied by.
        reason: why it is "unread", or details on `looks`.
    """

    name: str
    status: Status
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    elements: int
    new_name: str = ""
    new_shape: tuple[int, ...] | None = None
    new_dtype: str = ""
    frozen: bool | None = None
    changed: int | None = None
    max_delta: float | None = None
    relative: float | None = None
    delta_norm: float | None = None
    norm: float | None = None
    nan: int = 0
    inf: int = 0
    from_nan: int = 0
    from_inf: int = 0
    rows: int | None = None
    rows_changed: int | None = None
    looks: str = ""
    factor: float | None = None
    reason: str = ""

    @property
    def differs(self) -> bool:
        """Whether it is known to differ."""
        return self.status not in ("identical", "unread")


class FrozenDiff(msgspec.Struct, frozen=True):
    """The parameters that the config freezes.

    Attributes:
        held: how many are unchanged bit for bit.
        moved: names of those that changed; unsure: names of those for which that is unknown.
    """

    tensors: int
    held: int
    moved: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


class TrainableDiff(msgspec.Struct, frozen=True):
    """The parameters that the config trains: how many there are, how many changed, which did not.

    `moved` includes reshaped ones with a change in the rows that both sides have.
    """

    tensors: int
    moved: int
    still: tuple[str, ...] = ()


class Judged(msgspec.Struct, frozen=True):
    """The verdict on a diff by a config.

    Attributes:
        config, stage: which one was used; `stage` is "" for what is frozen in all stages.
        verdict: as of `freezetui check`; reason: why it is inconclusive, "" otherwise.
        buffers: those under modules whose parameters are all frozen.
        note: how BEFORE differs from the checkpoint that the config was saved for; "" if it does not.
    """

    config: str
    stage: str
    verdict: Verdict
    reason: str
    frozen: FrozenDiff
    trainable: TrainableDiff
    buffers: BufferPart
    findings: tuple[Finding, ...] = ()
    note: str = ""


class DiffReport(msgspec.Struct, frozen=True):
    """The whole outcome; `diff --json` prints its `document`.

    Attributes:
        matching: how names were matched; "" if they are equal.
        tensors: in the order of BEFORE, then added tensors.
        judged: None without a config.
        absent: names that an index lists and whose data neither side contains.
    """

    before: Side
    after: Side
    matching: str
    tensors: tuple[TensorDiff, ...]
    judged: Judged | None = None
    absent: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether both sides have the same tensors, equal bit for bit."""
        return not self.absent and all(tensor.status == "identical" for tensor in self.tensors)

    @property
    def has_nothing_in_common(self) -> bool:
        """Whether no tensor of one side is on the other."""
        one_sided = [tensor.status in ("added", "removed") for tensor in self.tensors]
        return bool(one_sided) and all(one_sided)

    @property
    def not_compared(self) -> str:
        """How many tensors could not be compared, and why the first could not; "" if all were."""
        reasons = [tensor.reason for tensor in self.tensors if tensor.status == "unread"]
        reasons += [ABSENT] * len(self.absent)
        return f"{plural(len(reasons), 'tensor')} could not be compared: {reasons[0]}" if reasons else ""

    @property
    def exit_code(self) -> int:
        """With a config 0 held, 1 moved, 3 inconclusive; else 0 identical, 1 different, 2 not compared."""
        if self.judged is not None:
            return EXIT_CODES[self.judged.verdict]
        if any(tensor.differs for tensor in self.tensors):
            return 1
        return 0 if self.identical else _TROUBLE

    def document(self) -> dict[str, object]:
        """Return the document that `--json` prints."""
        judged = self.judged
        return {
            "before": self.before,
            "after": self.after,
            "matching": self.matching,
            "identical": self.identical,
            "verdict": judged.verdict if judged else None,
            "reason": judged.reason if judged else "",
            "config": judged.config if judged else None,
            "stage": judged.stage if judged else "",
            "totals": {
                "parameters": _counts(t for t in self.tensors if t.kind != "buffer"),
                "buffers": _counts(t for t in self.tensors if t.kind == "buffer"),
            },
            "frozen": judged.frozen if judged else None,
            "trainable": judged.trainable if judged else None,
            "buffers": judged.buffers if judged else None,
            "findings": judged.findings if judged else (),
            "tensors": self.tensors,
            "absent": self.absent,
        }


class Series(msgspec.Struct, frozen=True):
    """What changed from each of several checkpoints to the next."""

    steps: tuple[DiffReport, ...]

    @property
    def exit_code(self) -> int:
        """The worst exit code of all steps; see `DiffReport`."""
        return worst(step.exit_code for step in self.steps)

    @property
    def sides(self) -> list[Side]:
        """All checkpoints, one more than steps."""
        return [self.steps[0].before, *(step.after for step in self.steps)]

    def document(self) -> dict[str, object]:
        """Return the document that `--json` prints: checkpoints, and each tensor's change in every step.

        `started` is the first step in which the tensor changed, counted from 1; None if it never did.
        """
        rows: dict[str, list[TensorDiff | None]] = {}
        for number, step in enumerate(self.steps):
            for tensor in step.tensors:
                rows.setdefault(tensor.name, [None] * len(self.steps))[number] = tensor
        return {
            "checkpoints": self.sides,
            "identical": all(step.identical for step in self.steps),
            "verdicts": [step.judged.verdict for step in self.steps if step.judged],
            "tensors": [
                {
                    "name": name,
                    "started": next((i for i, t in enumerate(row, 1) if t is not None and t.differs), None),
                    "status": [t.status if t is not None else None for t in row],
                    "relative": [t.relative if t is not None else None for t in row],
                }
                for name, row in rows.items()
            ],
        }


def _counts(tensors: Iterable[TensorDiff]) -> dict[str, int]:
    counts = dict.fromkeys(("tensors", *STATUSES), 0)
    for tensor in tensors:
        counts["tensors"] += 1
        counts[tensor.status] += 1
    return counts


def leading(tensors: Iterable[TensorDiff]) -> list[TensorDiff]:
    """Return the tensors whose changes count for a module: parameters, if any changed by a known amount.

    Else its statistics, else its counters: one step of a counter is more than any update.
    """
    # Of a reshaped tensor only some rows are compared.
    sized = [t for t in tensors if t.delta_norm is not None and t.norm is not None and t.status != "reshaped"]
    ranks = list(map(_rank, sized))
    first = min(ranks, default=0)
    return [tensor for tensor, rank in zip(sized, ranks, strict=True) if rank == first]


def _rank(tensor: TensorDiff) -> int:
    if tensor.kind != "buffer":
        return 0
    return 2 if tensor.dtype.startswith(("int", "uint", "bool")) else 1


def relative_change(tensors: Iterable[TensorDiff]) -> float:
    """Return |delta| / |weight| of several tensors together, over the `leading` ones; 0 if none changed.

    Infinite if the weight was 0, NaN if the change has no size.
    """
    tensors = list(tensors)
    delta = norm = 0.0
    for tensor in leading(tensors):
        delta, norm = delta + (tensor.delta_norm or 0.0) ** 2, norm + (tensor.norm or 0.0) ** 2
    if delta:
        return math.sqrt(delta / norm) if norm else math.inf
    return math.nan if any(tensor.differs for tensor in tensors) else 0.0
