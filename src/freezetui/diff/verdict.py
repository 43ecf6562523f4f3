"""Held, moved or inconclusive: what a config says of a diff, and what the changes look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.diff.compare import same_bits
from freezetui.diff.looks import CAST_AND_BACK, DECAY, ROUNDING, SOME_ROWS, TIED
from freezetui.diff.matching import Matching
from freezetui.diff.report import FrozenDiff, Judged, TensorDiff, TrainableDiff
from freezetui.sanity.report import BufferPart, Finding, Verdict

if TYPE_CHECKING:
    from freezetui.diff.plan import Plan

_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTER)
_SPECTRAL = ("_u", "_v", "weight_u", "weight_v")
#: Of so many moved tensors each is compared with so many that train, to find the one it is tied to.
_MAX_COUPLES = 2000
#: Modules around a buffer that are looked at.
_MAX_DEPTH = 64

#: What a change of a frozen tensor looks like -> code, what happened, what to do.
_CAUSES: dict[str, tuple[str, str, str]] = {
    DECAY: (
        "M12",
        "frozen, and shrunk by one factor ({detail}): weight decay without a gradient",
        "leave frozen parameters out of the optimizer; parameter_groups does",
    ),
    SOME_ROWS: (
        "M13",
        "frozen, and only some rows changed ({detail}): rows that a gradient hook lets train, or max_norm",
        "no weight decay on rows that a hook freezes; set max_norm=None on a frozen embedding",
    ),
    ROUNDING: (
        "M16",
        "frozen, and changed by rounding only ({detail}), as an EMA or an average of equal weights does",
        "copy frozen weights into the average instead of updating them",
    ),
    CAST_AND_BACK: (
        "M16",
        "frozen, and changed {detail}",
        "save and load frozen weights in the dtype that they had",
    ),
    TIED: (
        "M17",
        "frozen, and now equal to a tensor that trains: the two are tied in the model",
        "freeze both names or train both",
    ),
    "": (
        "M10",
        "frozen, and changed as what trains does: the optimizer still had them, or a gradient was left",
        "freeze before the first forward, and give the optimizer trainable parameters only",
    ),
}
_NEVER = (
    "F4",
    "every frozen tensor changed: the freeze was never there",
    "let FreezeConfig.apply set it; `freezetui check` shows what undoes it",
)


def judge(
    plan: Plan, after: Checkpoint, matching: Matching, tensors: Sequence[TensorDiff]
) -> tuple[tuple[TensorDiff, ...], Judged]:
    """The tensors, marked frozen or not, and the verdict.

    Args:
        after, matching: to look for ties in.

    Raises:
        CheckpointError: the bytes of `after` cannot be reached.
    """
    told = [msgspec.structs.replace(tensor, frozen=plan.frozen.get(tensor.name)) for tensor in tensors]
    told = _with_ties(told, after, matching)
    frozen = [t for t in told if t.frozen]
    trainable = [t for t in told if t.frozen is False]
    moved = [t for t in frozen if t.status == "changed"]
    unsure = [t for t in frozen if t.status not in ("identical", "changed")]
    modules = _Modules(plan.frozen)
    under_frozen = [t for t in told if t.kind == "buffer" and modules.holds(t.name)]
    drifted = [t for t in under_frozen if t.status == "changed"]
    findings = [*_causes(moved, frozen), *_drifts(drifted, plan)]
    verdict, reason = _verdict(frozen, moved, unsure, findings)
    judged = Judged(
        plan.config,
        plan.stage,
        verdict,
        reason,
        FrozenDiff(len(frozen), len(frozen) - len(moved) - len(unsure), _names(moved), _names(unsure)),
        TrainableDiff(
            len(trainable),
            sum(t.status == "changed" for t in trainable),
            _names(t for t in trainable if t.status == "identical"),
        ),
        BufferPart(len(under_frozen), len(under_frozen) - len(drifted), _names(drifted)),
        (*findings, *_still(trainable)),
    )
    return tuple(told), judged


def _verdict(
    frozen: Sequence[TensorDiff],
    moved: Sequence[TensorDiff],
    unsure: Sequence[TensorDiff],
    findings: Iterable[Finding],
) -> tuple[Verdict, str]:
    if moved or any(finding.severity == "error" for finding in findings):
        return "moved", ""
    if not frozen:
        return "inconclusive", "nothing is frozen, so there is nothing to verify"
    if not unsure:
        return "held", ""
    reasons = {
        "cast": "equal after a cast to another dtype, which proves nothing finer",
        "removed": "not in AFTER",
        "reshaped": "of another shape in AFTER",
        "unread": "not compared",
    }
    counts = {status: sum(t.status == status for t in unsure) for status in reasons}
    parts = [f"{count:,} {reasons[status]}" for status, count in counts.items() if count]
    return "inconclusive", f"of {len(frozen):,} frozen tensors {'; '.join(parts)}"


def _with_ties(tensors: Sequence[TensorDiff], after: Checkpoint, matching: Matching) -> list[TensorDiff]:
    """Marks frozen tensors that have become what a tensor that trains is."""
    infos = {pair.name: pair.after for pair in matching.pairs if pair.after is not None}
    trained: dict[object, list[str]] = defaultdict(list)
    for t in tensors:
        if t.frozen is False and t.status == "changed":
            trained[t.shape, t.dtype, t.max_delta].append(t.name)
    couples = [
        (t.name, name)
        for t in tensors
        if t.frozen and t.status == "changed"
        for name in trained.get((t.shape, t.dtype, t.max_delta), ())
    ][:_MAX_COUPLES]
    same = same_bits(after, [(infos[one], infos[other]) for one, other in couples]) if couples else []
    tied = {one: other for (one, other), equal in zip(couples, same, strict=True) if equal}
    return [
        msgspec.structs.replace(t, looks=TIED, reason=f"equal to {tied[t.name]}") if t.name in tied else t
        for t in tensors
    ]


def _causes(moved: Sequence[TensorDiff], frozen: Sequence[TensorDiff]) -> list[Finding]:
    """One finding for each thing that the changes look like."""
    plain = sum(not t.looks for t in moved)
    if len(moved) == len(frozen) > 1 and 2 * plain > len(moved):
        return [Finding("error", _NEVER[0], _names(moved), *_NEVER[1:])]
    groups: dict[tuple[str, str], list[TensorDiff]] = defaultdict(list)
    for t in moved:
        groups[t.looks, _detail(t)].append(t)
    return [
        Finding("error", code, _names(group), message.format(detail=detail), fix)
        for (looks, detail), group in groups.items()
        for code, message, fix in [_CAUSES[looks]]
    ]


def _detail(tensor: TensorDiff) -> str:
    if tensor.looks == DECAY and tensor.factor is not None:
        return f"1 - {1 - tensor.factor:.3g}"
    if tensor.looks == SOME_ROWS:
        return f"{tensor.rows_changed:,} of {tensor.rows:,}"
    return "" if tensor.looks == TIED else tensor.reason


def _drifts(drifted: Sequence[TensorDiff], plan: Plan) -> list[Finding]:
    """Statistics and counters under frozen modules: what the config promised to keep speaks against it."""
    groups: dict[str, list[TensorDiff]] = defaultdict(list)
    moved = {t.name for t in drifted}
    for t in drifted:
        path, _, last = t.name.rpartition(".")
        if last in _STATISTICS:
            only_counter = not any(f"{path}.{name}" in moved for name in ("running_mean", "running_var"))
            groups["M3" if only_counter else "M1"].append(t)
        else:
            groups["M6" if last in _SPECTRAL else "M8"].append(t)
    keeps = plan.keeps_statistics
    wanted = "the config keeps frozen norms in eval: apply it, and let nothing put them back into train mode"
    texts = {
        "M1": (
            "error" if keeps else "note",
            "only statistics: running statistics under frozen modules moved in train mode",
            wanted if keeps else "set norm_statistics: freeze, which keeps frozen norms in eval",
        ),
        "M3": ("note", "only the batch counter of a frozen BatchNorm moved", "harmless; eval stops it, too"),
        "M6": (
            "warning",
            "the vectors of a frozen spectral norm moved, and with them the weight in effect",
            "keep it in eval",
        ),
        "M8": (
            "warning",
            "buffers under frozen modules changed",
            "make the model write them only while it trains; caches and counters are harmless",
        ),
    }
    return [Finding(texts[code][0], code, _names(group), *texts[code][1:]) for code, group in groups.items()]  # type: ignore[arg-type]


def _still(trainable: Sequence[TensorDiff]) -> list[Finding]:
    still = [t for t in trainable if t.status == "identical"]
    if not still or not trainable:
        return []
    if len(still) == len(trainable):
        return [
            Finding(
                "warning",
                "N7",
                (),
                "nothing that trains changed either: there was no training between, or it did nothing",
                "compare with a checkpoint from after the training",
            )
        ]
    return [
        Finding("note", "S3", _names(still), "trainable, and unchanged bit for bit", "see `freezetui check`")
    ]


class _Modules:
    """Which modules have only frozen parameters."""

    def __init__(self, frozen: Mapping[str, bool | None]) -> None:
        self._all_frozen: dict[str, bool] = {}
        for name, is_frozen in frozen.items():
            if is_frozen is not None:
                for path in _above(name):
                    self._all_frozen[path] = self._all_frozen.get(path, True) and is_frozen

    def holds(self, name: str) -> bool:
        """Whether the nearest module around a buffer that has parameters has only frozen ones."""
        return next((self._all_frozen[path] for path in _above(name) if path in self._all_frozen), False)


def _above(name: str) -> Iterator[str]:
    """The modules around a tensor, the nearest first."""
    for _ in range(_MAX_DEPTH):
        name = name.rpartition(".")[0]
        yield name
        if not name:
            return


def _names(tensors: Iterable[TensorDiff]) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in tensors)
