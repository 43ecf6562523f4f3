"""Formats the output of `freezetui diff`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from freezetui import numbers
from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.report import STATUSES, DiffReport, Judged, Status, TensorDiff, leading, relative_change
from freezetui.formatting.change import counted, looks_like, resized, status_word
from freezetui.formatting.report import finding_text, nothing_to_hold, verdict_line
from freezetui.freeze.blocks import repeats
from freezetui.freeze.tree import ParamTree
from freezetui.text import listed, printable

_SIGNS: dict[Status, str] = {
    "identical": "= same    ",
    "cast": "≈ cast    ",
    "changed": "~ changed ",
    "reshaped": "! reshaped",
    "added": "+ added   ",
    "removed": "- removed ",
    "unread": "? unread  ",
}
_PLAN = {True: "■", False: "○", None: " "}
#: Tensors named per block of a folded line.
_MAX_NAMED = 4
#: Letters shown of a key that is not compared.
_MAX_KEY = 60
#: A bar covers relative changes from 1e-6 to 1, on a logarithmic scale of decades.
_BAR, _DECADES = 12, 6
_HEAD = f"{'':<12}  {'name':<38} {'shape, dtype':>26} {'changed':>8} {'max |Δ|':>9} {'|Δ|/|w|':>9}"


def diff_lines(report: DiffReport, sort: str = "module", stat: bool = False) -> Iterator[str]:
    """Yield the report as text: the two sides, what differs, totals, the verdict.

    Args:
        sort: "module" prints the tree, with equal blocks folded and each unchanged module on one line;
            "change" prints the tensors that differ, the largest relative change first.
        stat: print one line with a bar for each top-level module instead.
    """
    yield from _sides(report)
    tree = DiffTree(report.tensors)
    if stat:
        yield from _stat(tree)
    elif sort == "change":
        yield from _by_change(report.tensors)
    else:
        yield _HEAD
        yield from _tree(tree)
    yield ""
    yield from _totals(report)
    if report.judged is not None:
        yield from judged_lines(report.judged)


def _sides(report: DiffReport) -> Iterator[str]:
    for word, side in (("before", report.before), ("after", report.after)):
        unwrapped = f"  ({side.unwrapped})" if side.unwrapped else ""
        yield printable(f"{word:<7} {side.source}  {side.format}{unwrapped}")
        for warning in side.warnings:
            yield printable(f"{'':<7} warning: {warning}")
        if side.skipped:
            yield printable(f"{'':<7} not compared: {listed(side.skipped, _MAX_NAMED, _MAX_KEY)}")
    if report.matching:
        yield printable(report.matching)
    yield ""


def judged_lines(judged: Judged) -> Iterator[str]:
    """Yield the verdict of a config, what trained, and what the changes look like."""
    frozen, trainable, buffers = judged.frozen, judged.trainable, judged.buffers
    yield ""
    if judged.stage and not frozen.tensors and judged.verdict == "inconclusive" and trainable.moved:
        yield nothing_to_hold(trainable.moved, trainable.tensors)
    else:
        counts = frozen.tensors, len(frozen.moved)
        drifted = len(buffers.drifted)
        yield printable(verdict_line(judged.verdict, *counts, judged.reason, drifted))
    unsure = trainable.tensors - trainable.moved - len(trainable.still)
    note = f" ({unsure:,} not comparable bit for bit)" if unsure else ""
    parts = [f"trainable: {trainable.moved:,} of {trainable.tensors:,} changed{note}"]
    if buffers.tensors:
        unsure = buffers.tensors - buffers.held - len(buffers.drifted)
        note = f" ({unsure:,} not comparable bit for bit)" if unsure else ""
        parts.append(f"buffers: {buffers.held:,} of {buffers.tensors:,} unchanged{note}")
    stage = f", stage {judged.stage}" if judged.stage else ""
    yield printable(f"{'; '.join(parts)}; by {judged.config}{stage}")
    for finding in judged.findings:
        yield finding_text(finding)


class DiffTree:
    """The tensors of a diff as a tree of modules.

    Attributes:
        tree: the names; tensors: in its order.
    """

    def __init__(self, tensors: Sequence[TensorDiff]) -> None:
        by_name = {tensor.name: tensor for tensor in tensors}
        self.tree = ParamTree([TensorInfo(t.name, t.shape, t.dtype, t.kind) for t in tensors])
        self.tensors = [by_name[tensor.name] for tensor in self.tree.tensors]
        codes = {status: number for number, status in enumerate(STATUSES)}
        self._statuses = bytes(codes[tensor.status] for tensor in self.tensors)

    def below(self, node: int, stop: int | None = None) -> list[TensorDiff]:
        """Return the tensors below a node, or of the nodes `node .. stop - 1`."""
        return self.tensors[slice(*self.tree.span(node, stop))]

    def statuses(self, node: int) -> bytes:
        """Return the status of each tensor below a node, as its number in STATUSES."""
        return self._statuses[slice(*self.tree.span(node))]

    def folds(self, node: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of repeated blocks below a node whose changes are the same."""
        for start, stop in repeats(self.tree, node):
            blocks = [child for child in self.tree.children(node) if start <= child < stop]
            if len({self.statuses(block) for block in blocks}) == 1:
                yield start, stop

    def holds_modules(self, node: int) -> bool:
        """Whether a module has modules in it."""
        return any(not self.tree.leaf[child] for child in self.tree.children(node))

    def is_one_sided(self, node: int) -> bool:
        """Whether a module with modules in it is in one of the two checkpoints only."""
        statuses = set(self.statuses(node))
        return (
            self.holds_modules(node)
            and len(statuses) == 1
            and STATUSES[min(statuses)] in ("added", "removed")
        )

    def label(self, node: int, stop: int | None = None) -> str:
        """Return the name of a node, or of a run of blocks, indented."""
        tree = self.tree
        name = tree.names[node]
        if stop is not None:
            blocks = [child for child in tree.children(tree.parents[node]) if node <= child < stop]
            name = f"{{{name}..{tree.names[blocks[-1]]}}} ×{len(blocks)}"
        return printable("  " * min(tree.depths[node], 40) + name)


def _tree(tree: DiffTree) -> Iterator[str]:
    shape = tree.tree
    folds: dict[int, int] = {}
    node = 0
    while node < len(shape):
        stop = folds.get(node)
        yield _line(tree, node, stop)
        is_same = not any(tree.statuses(node))
        if stop is not None and is_same:
            node = stop
        elif is_same or tree.is_one_sided(node):
            node = shape.end[node]
        elif stop is not None:
            yield from _inside(tree, node)
            node = stop
        else:
            folds.update(() if shape.leaf[node] else tree.folds(node))
            node += 1


def _inside(tree: DiffTree, block: int) -> Iterator[str]:
    """Yield the names of the tensors that differ in each block of a folded line."""
    path = tree.tree.path(block)
    differing = [t for t in tree.below(block) if t.status != "identical"]
    last = [t.name[len(path) + 1 :] for t in differing]
    indent = "  " * (min(tree.tree.depths[block], 40) + 1)
    yield f"{'':<14}{indent}in each: {listed(last, _MAX_NAMED, longest=None)}"


def _line(tree: DiffTree, node: int, stop: int | None) -> str:
    tensors = tree.below(node, stop)
    if tree.tree.leaf[node] and stop is None:
        return _tensor_line(tensors[0], tree.label(node))
    differing = [t for t in tensors if t.status != "identical"]
    sign = _SIGNS[_common_status(differing)]
    what = f"{len(differing):,} of {numbers.plural(len(tensors), 'tensor')}" if differing else _count(tensors)
    return _columns(f"{sign}  ", tree.label(node, stop), what, tensors)


def _tensor_line(tensor: TensorDiff, label: str) -> str:
    what = f"{numbers.shape(tensor.shape)} {tensor.dtype}"
    new = [*([numbers.shape(tensor.new_shape)] if tensor.new_shape is not None else []), tensor.new_dtype]
    if after := " ".join(filter(None, new)):
        what += f" → {after}"
    line = _columns(f"{_SIGNS[tensor.status]} {_PLAN[tensor.frozen]}", label, what, [tensor])
    notes = _notes(tensor)
    return f"{line}  {notes}" if notes else line


def _notes(tensor: TensorDiff) -> str:
    """Return further notes on one tensor."""
    notes = looks_like(tensor), *resized(tensor), tensor.reason, *counted(tensor)
    return printable("; ".join(note for note in notes if note))


def _columns(sign: str, label: str, what: str, tensors: Sequence[TensorDiff]) -> str:
    changed = sum(tensor.changed or 0 for tensor in tensors)
    share = largest = relative = ""
    if any(tensor.status == "changed" for tensor in tensors):
        elements = sum(tensor.elements for tensor in tensors)
        share = numbers.percent(changed / elements) if changed and elements else ""
        most = [tensor.max_delta for tensor in leading(tensors) if tensor.max_delta is not None]
        largest = f"{max(most):.3g}" if most else ""
        change = relative_change(tensors)
        relative = _relative(change)
    return f"{sign}  {label:<38} {what:>26} {share:>8} {largest:>9} {relative:>9}".rstrip()


def _common_status(differing: Sequence[TensorDiff]) -> Status:
    """Return the status that all differing tensors share, else "changed"."""
    statuses = {tensor.status for tensor in differing}
    return statuses.pop() if len(statuses) == 1 else "changed" if statuses else "identical"


def _count(tensors: Sequence[TensorDiff]) -> str:
    return numbers.plural(len(tensors), "tensor")


def _by_change(tensors: Sequence[TensorDiff]) -> Iterator[str]:
    differing = [tensor for tensor in tensors if tensor.status != "identical"]
    if differing:
        yield _HEAD
    for tensor in sorted(differing, key=_rank):
        yield _tensor_line(tensor, printable(tensor.name))


def _rank(tensor: TensorDiff) -> tuple[bool, float]:
    """Return a sort key: changed tensors first, by relative change; those without one before all."""
    if tensor.status != "changed":
        return True, 0.0
    return False, -math.inf if tensor.relative is None else -tensor.relative


def _stat(tree: DiffTree) -> Iterator[str]:
    """Yield a line for each module below the first module that has several parts."""
    shape, above = tree.tree, 0
    while len(only := [*shape.children(above)]) == 1 and tree.holds_modules(only[0]):
        above = only[0]
    for node in shape.children(above):
        tensors = tree.below(node)
        differing = [t for t in tensors if t.status != "identical"]
        change = relative_change(tensors)
        relative = _relative(change) if change else ""
        graph = status_word(_common_status(differing)) if math.isnan(change) else bar(change)
        what = f"{len(differing):,} of {_count(tensors)}"
        yield f"{printable(shape.path(node)):<40} {what:>26} {relative:>9}  {graph}".rstrip()


def bar(change: float, width: int = _BAR) -> str:
    """Return a relative change as a bar on a scale of decades, full at 1 and above; "" for no change."""
    if change <= 0:
        return ""
    filled = width * (math.log10(min(change, 1.0)) + _DECADES) / _DECADES
    return "=" * max(1, min(width, round(filled)))


def _relative(change: float) -> str:
    return "" if math.isnan(change) else "from 0" if math.isinf(change) else f"{change:.3g}"


def _totals(report: DiffReport) -> Iterator[str]:
    for word, is_buffer in (("parameters", False), ("buffers", True)):
        tensors = [t for t in report.tensors if (t.kind == "buffer") == is_buffer]
        counts = {status: sum(t.status == status for t in tensors) for status in STATUSES}
        parts = [f"{count:,} {status_word(status)}" for status, count in counts.items() if count]
        if tensors:
            yield f"{word:<11}{_count(tensors):>15}: {', '.join(parts)}"
