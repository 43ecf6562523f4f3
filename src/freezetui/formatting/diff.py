"""Formats the output of `freezetui diff`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from freezetui import numbers
from freezetui.diff.report import STATUSES, DiffReport, Judged, Status, TensorDiff, leading, relative_change
from freezetui.formatting.change import counted, has_size, looks_like, not_finite, resized, status_word
from freezetui.formatting.columns import Table, all_wrapped, wrapped
from freezetui.formatting.diff_tree import DiffTree
from freezetui.formatting.report import finding_text, nothing_to_hold, verdict_line
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
#: Where the counts of the totals begin, and which column the shapes are in.
_INDENT, _WHAT = 28, 2
#: Letters shown of a key that is not compared.
_MAX_KEY = 60
#: A bar covers relative changes from 1e-6 to 1, on a logarithmic scale of decades.
_BAR, _DECADES = 12, 6
_TABLE = Table((12, 38, 26, 8, 9, 9), "<<>>>>", (0, 2, 1, 1, 1, 1), name=1, spare=(2, 4, 3))
_HEAD = "", "name", "shape, dtype", "changed", "max |Δ|", "|Δ|/|w|"
_STAT = Table((40, 26, 9, _BAR), "<>><", (0, 1, 1, 2), name=0, spare=(1, 3))


class _Row(NamedTuple):
    """A line of the table: its cells, and what else there is to say; or only the latter."""

    cells: tuple[str, ...]
    notes: str = ""
    indent: int = 14


def diff_lines(
    report: DiffReport, sort: str = "module", stat: bool = False, width: int | None = None
) -> Iterator[str]:
    """Yield the report as text: the two sides, what differs, totals, the verdict.

    Args:
        sort: "module" prints the tree, with equal blocks folded and each unchanged module on one line;
            "change" prints the tensors that differ, the largest relative change first.
        stat: print one line with a bar for each top-level module instead.
        width: of the terminal; None for no edge.
    """
    yield from all_wrapped(_sides(report), width, 8)
    tree = DiffTree(report.tensors)
    if stat:
        rows = list(_stat(tree, sort))
        table = _STAT.fitted([row.cells for row in rows], width) or _STAT
    else:
        rows = list(_by_change(report.tensors) if sort == "change" else _tree(tree))
        rows, table = _fitted([_Row(_HEAD), *rows] if rows else [], width)
    for row in rows:
        yield from _row_lines(row, table, width)
    yield ""
    yield from all_wrapped(_totals(report), width, _INDENT)
    if report.judged is not None:
        yield from judged_lines(report.judged, width)


def _fitted(rows: list[_Row], width: int | None) -> tuple[list[_Row], Table]:
    """Return the rows and a table that fits; what became of a tensor is a note if its column does not."""
    table = _TABLE.fitted([row.cells for row in rows if row.cells], width)
    if table is None or table.widths[_WHAT] < 0:
        rows = list(map(_with_new_as_note, rows))
        table = _TABLE.fitted([row.cells for row in rows if row.cells], width)
    return rows, table or _TABLE


def _with_new_as_note(row: _Row) -> _Row:
    if not row.cells:
        return row
    old, arrow, new = row.cells[_WHAT].partition(" → ")
    notes = "; ".join(filter(None, (f"→ {new}" if arrow else "", row.notes)))
    return row._replace(cells=(*row.cells[:_WHAT], old, *row.cells[_WHAT + 1 :]), notes=notes)


def _row_lines(row: _Row, table: Table, width: int | None) -> Iterator[str]:
    """Yield a row, with the notes beside it if there is room."""
    notes = row.notes
    if not row.cells:
        yield from wrapped(" " * row.indent + notes, width)
        return
    line = table.line(row.cells if width is None else table.shortened(row.cells))
    if not notes or width is None or len(line) + 2 + len(notes) <= width:
        yield f"{line}  {notes}" if notes else line
        return
    yield line
    yield from wrapped(" " * row.indent + notes, width)


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


def judged_lines(judged: Judged, width: int | None = None) -> Iterator[str]:
    """Yield the verdict of a config, what trained, and what the changes look like."""
    yield from all_wrapped(_judged(judged), width, 6)


def _judged(judged: Judged) -> Iterator[str]:
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


def _tree(tree: DiffTree) -> Iterator[_Row]:
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
            yield _inside(tree, node)
            node = stop
        else:
            folds.update(() if shape.leaf[node] else tree.folds(node))
            node += 1


def _inside(tree: DiffTree, block: int) -> _Row:
    """Return the names of the tensors that differ in each block of a folded line."""
    path = tree.tree.path(block)
    differing = [t for t in tree.below(block) if t.status != "identical"]
    last = [t.name[len(path) + 1 :] for t in differing]
    indent = 2 * (min(tree.tree.depths[block], 40) + 1)
    return _Row((), f"in each: {listed(last, _MAX_NAMED, longest=None)}", 14 + indent)


def _line(tree: DiffTree, node: int, stop: int | None) -> _Row:
    tensors = tree.below(node, stop)
    if tree.tree.leaf[node] and stop is None:
        return _tensor_line(tensors[0], tree.label(node))
    differing = [t for t in tensors if t.status != "identical"]
    sign = f"{_SIGNS[_common_status(differing)]} {_plan(tensors)}"
    what = f"{len(differing):,} of {numbers.plural(len(tensors), 'tensor')}" if differing else _count(tensors)
    hidden = "" if stop is None else "; ".join(not_finite(tensors))
    return _Row(_columns(sign, tree.label(node, stop), what, tensors), hidden)


def _plan(tensors: Sequence[TensorDiff]) -> str:
    """Return the mark of a module whose parameters are all frozen, or all trainable."""
    states = {tensor.frozen for tensor in tensors if tensor.frozen is not None}
    return _PLAN[states.pop()] if len(states) == 1 else _PLAN[None]


def _tensor_line(tensor: TensorDiff, label: str) -> _Row:
    what = f"{numbers.shape(tensor.shape)} {tensor.dtype}"
    new = [*([numbers.shape(tensor.new_shape)] if tensor.new_shape is not None else []), tensor.new_dtype]
    if after := " ".join(filter(None, new)):
        what += f" → {after}"
    sign = f"{_SIGNS[tensor.status]} {_PLAN[tensor.frozen]}"
    return _Row(_columns(sign, label, what, [tensor]), _notes(tensor))


def _notes(tensor: TensorDiff) -> str:
    """Return further notes on one tensor."""
    bytes_differ = "its bytes differ" if tensor.status == "changed" and tensor.changed is None else ""
    notes = bytes_differ, looks_like(tensor), *resized(tensor), tensor.reason, *counted(tensor)
    return printable("; ".join(note for note in notes if note))


def _columns(sign: str, label: str, what: str, tensors: Sequence[TensorDiff]) -> tuple[str, ...]:
    """Return the cells of a row of the table."""
    changed = sum(tensor.changed or 0 for tensor in tensors if tensor.status == "changed")
    share = largest = relative = ""
    if any(tensor.status == "changed" for tensor in tensors):
        elements = sum(tensor.elements for tensor in tensors)
        share = numbers.percent(changed / elements) if changed and elements else ""
        most = [t.max_delta for t in leading(tensors) if t.max_delta is not None and has_size(t)]
        largest = f"{max(most):.3g}" if most else ""
        change = relative_change(tensors)
        relative = _relative(change)
    return sign, label, printable(what), share, largest, relative


def _common_status(differing: Sequence[TensorDiff]) -> Status:
    """Return the status that all differing tensors share, else "changed"."""
    statuses = {tensor.status for tensor in differing}
    return statuses.pop() if len(statuses) == 1 else "changed" if statuses else "identical"


def _count(tensors: Sequence[TensorDiff]) -> str:
    return numbers.plural(len(tensors), "tensor")


def _by_change(tensors: Sequence[TensorDiff]) -> Iterator[_Row]:
    differing = [tensor for tensor in tensors if tensor.status != "identical"]
    for tensor in sorted(differing, key=_rank):
        yield _tensor_line(tensor, printable(tensor.name))


def _rank(tensor: TensorDiff) -> tuple[bool, float]:
    """Return a sort key: changed tensors first, by relative change; those without one before all."""
    if tensor.status != "changed":
        return True, 0.0
    return False, -math.inf if tensor.relative is None else -tensor.relative


def _stat(tree: DiffTree, sort: str) -> list[_Row]:
    """Return a row for each module below the first module that has several parts."""
    shape, above = tree.tree, 0
    while len(only := [*shape.children(above)]) == 1 and tree.holds_modules(only[0]):
        above = only[0]
    found = []
    for node in shape.children(above):
        tensors = tree.below(node)
        differing = [t for t in tensors if t.status != "identical"]
        change = relative_change(tensors)
        relative = _relative(change) if change else ""
        graph = status_word(_common_status(differing)) if math.isnan(change) else bar(change)
        if graph and change > 0 and all(t.kind == "buffer" for t in leading(tensors) if t.delta_norm):
            graph = "buffers only"  # a mean that begins at 0 changes by more than any update
        what = f"{len(differing):,} of {_count(tensors)}"
        cells = printable(shape.path(node)), what, relative, graph
        found.append((change, _Row(cells, "; ".join(not_finite(tensors)))))
    if sort == "change":  # those that differ without a size first
        found.sort(key=lambda each: -math.inf if math.isnan(each[0]) else -each[0])
    return [row for _, row in found]


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
    if report.absent:
        count = numbers.plural(len(report.absent), "tensor")
        yield f"{'no data':<11}{count:>15}: listed in an index, but not in its files"
