"""Judges a diff by a config: held, moved or inconclusive, and what the changes look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.types import AVERAGES, STATISTICS, VECTORS, Checkpoint
from freezetui.diff.compare import same_bits
from freezetui.diff.looks import CAST_AND_BACK, DECAY, ROUNDING, SAME_VALUES, SOME_ROWS, TIED
from freezetui.diff.matching import Matching
from freezetui.diff.report import FrozenDiff, Judged, Status, TensorDiff, TrainableDiff
from freezetui.diff.tied import stored_once
from freezetui.numbers import plural
from freezetui.sanity.codes import finding
from freezetui.sanity.report import BufferPart, Finding, Verdict

if TYPE_CHECKING:
    from freezetui.diff.plan import Plan

#: How many couples of a changed frozen tensor and a trainable one are compared to find ties.
_MAX_COUPLES = 2000
#: Factors of decay that differ by less than this are one, rounded to narrow dtypes.
_SAME_FACTOR = 1.25
#: How many parent modules of a buffer are checked.
_MAX_DEPTH = 64

#: What a change of a frozen tensor looks like -> the key of its finding.
_CAUSES = {
    DECAY: "shrunk",
    SOME_ROWS: "some_rows",
    ROUNDING: "rounded",
    CAST_AND_BACK: "cast_and_back",
    SAME_VALUES: "cast_and_back",
    TIED: "shared_memory",
    "": "changed_in_run",
}


def judge(
    plan: Plan, before: Checkpoint, after: Checkpoint, matching: Matching, tensors: Sequence[TensorDiff]
) -> tuple[tuple[TensorDiff, ...], Judged]:
    """Return the tensors, marked frozen or not, and the verdict.

    Args:
        before, after, matching: to find ties in.

    Raises:
        CheckpointError: the bytes of `after` cannot be read.
    """
    marked = [msgspec.structs.replace(tensor, frozen=plan.frozen.get(tensor.name)) for tensor in tensors]
    marked = _with_ties(marked, after, matching)
    frozen = [t for t in marked if t.frozen]
    trainable = [t for t in marked if t.frozen is False]
    moved = [t for t in frozen if t.status == "changed"]
    status = {t.name: t.status for t in marked}
    # What a format stores once has changed if the tensor has that it is tied to.
    status |= {name: status[copy] for name, copy in stored_once(matching, before, after).items()}
    same = {name for name, each in status.items() if each == "identical"}
    unsure = [t for t in frozen if t.status != "changed" and t.name not in same]
    modules = _Modules(plan.frozen)
    under_frozen = [t for t in marked if t.kind == "buffer" and modules.holds(t.name)]
    drifted = [t for t in under_frozen if t.status == "changed"]
    findings = [*_causes(moved, frozen), *_drifts(drifted, plan)]
    verdict, reason = _verdict(frozen, moved, unsure, status, findings)
    if verdict == "held" and matching.absent:
        count = plural(len(matching.absent), "tensor")
        verdict, reason = "inconclusive", f"the data of {count} that an index lists is missing"
    if not frozen and plan.joins_stages and verdict == "inconclusive":
        reason = (
            "no tensor is frozen in all stages: pass --stage NAME, with the checkpoints from the start and "
            "the end of that stage"
        )
    judged = Judged(
        plan.config,
        plan.stage,
        verdict,
        reason,
        FrozenDiff(len(frozen), len(frozen) - len(moved) - len(unsure), _names(moved), _names(unsure)),
        TrainableDiff(
            len(trainable),
            sum(
                status[t.name] == "changed" or (t.status == "reshaped" and bool(t.changed)) for t in trainable
            ),
            _names(t for t in trainable if t.name in same),
        ),
        BufferPart(len(under_frozen), sum(t.name in same for t in under_frozen), _names(drifted)),
        (*findings, *_still(trainable, same, any_change=bool(moved or drifted))),
        plan.note,
    )
    return tuple(marked), judged


def _verdict(
    frozen: Sequence[TensorDiff],
    moved: Sequence[TensorDiff],
    unsure: Sequence[TensorDiff],
    status: Mapping[str, Status],
    findings: Iterable[Finding],
) -> tuple[Verdict, str]:
    """Return the verdict, and why it is inconclusive.

    Args:
        status: of each tensor by name; of one that a format stores once, that of the tensor it is tied to.
    """
    if moved or any(found.severity == "error" for found in findings):
        return "moved", ""
    if not frozen:
        return "inconclusive", "nothing is frozen, so there is nothing to verify"
    if not unsure:
        return "held", ""
    reasons = {
        "cast": "equal only after a cast to a different dtype",
        "removed": "missing in AFTER",
        "reshaped": "with a different shape in AFTER",
        "unread": "not compared",
    }
    counts = {word: sum(status[t.name] == word for t in unsure) for word in reasons}
    parts = [f"{count:,} {reasons[word]}" for word, count in counts.items() if count]
    first, _, rest = "; ".join(parts).partition(" ")
    return "inconclusive", f"{first} of {plural(len(frozen), 'frozen tensor')} {rest}{_rows(unsure)}"


def _rows(unsure: Iterable[TensorDiff]) -> str:
    """Return what is known of the rows that both sides of reshaped tensors have; "" if nothing."""
    resized = [t for t in unsure if t.status == "reshaped" and t.rows is not None]
    if not resized:
        return ""
    same = sum(t.changed == 0 and not t.new_dtype for t in resized)
    counts = ("unchanged", same), ("changed", sum(t.changed != 0 for t in resized))
    parts = [f"{word} in {count:,}" for word, count in counts if count]
    return f" (the rows in both files: {', '.join(parts)})" if parts else ""


def _with_ties(tensors: Sequence[TensorDiff], after: Checkpoint, matching: Matching) -> list[TensorDiff]:
    """Return the tensors, marking frozen ones that are now equal to a trainable one.

    Not those whose change has another cause: decay leaves all norms equal that began at 1.
    """
    infos = {pair.name: pair.after for pair in matching.pairs if pair.after is not None}
    trained: dict[object, list[str]] = defaultdict(list)
    for t in tensors:
        if t.frozen is False and t.status == "changed":
            trained[t.shape, t.dtype, t.max_delta].append(t.name)
    couples = [
        (t.name, name)
        for t in tensors
        if t.frozen and t.status == "changed" and t.looks in ("", SOME_ROWS)
        for name in trained.get((t.shape, t.dtype, t.max_delta), ())
    ][:_MAX_COUPLES]
    same = same_bits(after, [(infos[one], infos[other]) for one, other in couples]) if couples else []
    tied = {one: other for (one, other), equal in zip(couples, same, strict=True) if equal}
    return [
        msgspec.structs.replace(t, looks=TIED, reason=f"equal to {tied[t.name]}") if t.name in tied else t
        for t in tensors
    ]


def _causes(moved: Sequence[TensorDiff], frozen: Sequence[TensorDiff]) -> list[Finding]:
    """Return one finding for each kind of change."""
    plain = sum(not t.looks for t in moved)
    if len(moved) == len(frozen) > 1 and 2 * plain > len(moved):
        return [finding("never_frozen", _names(moved))]
    factors = _factors(moved)
    groups: dict[tuple[str, str], list[TensorDiff]] = defaultdict(list)
    for t in moved:
        groups[t.looks, factors.get(t.name) or _detail(t)].append(t)
    return [
        finding(_CAUSES[looks], _names(group), detail=detail or _of_all(looks, group))
        for (looks, detail), group in groups.items()
    ]


def _of_all(looks: str, group: Sequence[TensorDiff]) -> str:
    """Return the detail of one finding on tensors that each have another number; "" if they have none.

    An average of a whole model would be a finding for each count of units.
    """
    if looks == ROUNDING:
        return max((t.reason for t in group), key=lambda reason: (len(reason), reason))  # the most units
    if looks != SOME_ROWS:
        return ""
    if len({(t.rows_changed, t.rows) for t in group}) == 1:
        return f"{group[0].rows_changed:,} of {group[0].rows:,}"
    counts = [t.rows_changed or 0 for t in group]
    return f"{min(counts):,} to {max(counts):,} of each tensor"


def _factors(moved: Iterable[TensorDiff]) -> dict[str, str]:
    """Return the factor of each tensor that decayed, in words; those that rounding tells apart are one."""
    shrunk = sorted((1 - t.factor, t.name) for t in moved if t.looks == DECAY and t.factor is not None)
    found: dict[str, str] = {}
    start = 0
    for stop in range(1, len(shrunk) + 1):
        if stop < len(shrunk) and shrunk[stop][0] <= _SAME_FACTOR * shrunk[stop - 1][0]:
            continue
        least, most = (f"1 - {shrunk[place][0]:.3g}" for place in (start, stop - 1))
        words = least if least == most else f"{least} to {most}"
        found |= {name: words for _, name in shrunk[start:stop]}
        start = stop
    return found


def _detail(tensor: TensorDiff) -> str:
    counts = {
        "appeared": (("NaN", tensor.nan), ("Inf", tensor.inf)),
        "became finite": (("NaN", tensor.from_nan), ("Inf", tensor.from_inf)),
    }
    found = {what: " and ".join(word for word, count in each if count) for what, each in counts.items()}
    if not tensor.looks and any(found.values()):
        return "".join(f", and {words} {what}" for what, words in found.items() if words)
    return "" if tensor.looks in (TIED, ROUNDING, SOME_ROWS) else tensor.reason


def _drifts(drifted: Sequence[TensorDiff], plan: Plan) -> list[Finding]:
    """Return findings on buffers of frozen modules; errors only if the config keeps their statistics."""
    groups: dict[str, list[TensorDiff]] = defaultdict(list)
    moved = {t.name for t in drifted}
    for t in drifted:
        path, _, last = t.name.rpartition(".")
        if last in STATISTICS:
            only_counter = not any(f"{path}.{name}" in moved for name in AVERAGES)
            statistics = "kept_statistics" if plan.keeps_statistics else "batch_norm"
            groups["batch_counter" if only_counter else statistics].append(t)
        elif last in VECTORS:
            groups["kept_spectral_norm" if plan.keeps_statistics else "spectral_norm"].append(t)
        else:
            groups["writes_buffer"].append(t)
    return [finding(key, _names(group)) for key, group in groups.items()]


def _still(trainable: Sequence[TensorDiff], same: Set[str], any_change: bool) -> list[Finding]:
    """Return a finding on trainable tensors that did not change.

    Args:
        same: names of all tensors that did not.
        any_change: whether what is frozen, or a buffer of it, has changed: then there was training.
    """
    still = [t for t in trainable if t.name in same]
    if not still:
        return []
    if len(still) == len(trainable) and not any_change:
        return [finding("no_training")]
    return [finding("unchanged_in_run", _names(still))]


class _Modules:
    """Knows which modules have only frozen parameters."""

    def __init__(self, frozen: Mapping[str, bool | None]) -> None:
        self._all_frozen: dict[str, bool] = {}
        for name, is_frozen in frozen.items():
            if is_frozen is not None:
                for path in _above(name):
                    self._all_frozen[path] = self._all_frozen.get(path, True) and is_frozen

    def holds(self, name: str) -> bool:
        """Whether a buffer's nearest parent module with parameters has only frozen ones."""
        return next((self._all_frozen[path] for path in _above(name) if path in self._all_frozen), False)


def _above(name: str) -> Iterator[str]:
    """Yield the parent modules of a tensor, the nearest first."""
    for _ in range(_MAX_DEPTH):
        name = name.rpartition(".")[0]
        yield name
        if not name:
            return


def _names(tensors: Iterable[TensorDiff]) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in tensors)
