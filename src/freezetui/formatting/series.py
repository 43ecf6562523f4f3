"""Formats the output of `freezetui diff` for several checkpoints: when each module started to change.

A module's bars are those of its parameters, if any of them changes in the series; else those of its buffers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from freezetui.diff.report import Series, TensorDiff, relative_change
from freezetui.formatting.columns import Table, all_wrapped, shortened_start, wrapped
from freezetui.formatting.diff import judged_lines
from freezetui.formatting.diff_tree import DiffTree
from freezetui.numbers import plural
from freezetui.text import listed, printable

_MAX_NAMED = 4
_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING, _OTHER, _BUFFERS, _UNREAD = "·", "!", "~", "?"
_LEGEND = {
    _BUFFERS: "only statistics or counters changed",
    _UNREAD: "not all of it could be compared",
    _OTHER: "changed without a size: NaN, a new shape or dtype, added or removed",
}


def series_lines(series: Series, depth: int | None = None, width: int | None = None) -> Iterator[str]:
    """Yield a row of small bars for each module, one for each step from a checkpoint to the next.

    The bars of all rows share one scale of decades. A dot means no change; other signs are explained below.

    Args:
        depth: how many levels of modules; None prints all. Repeated blocks with the same changes are folded.
        width: of the terminal; None for no edge.
    """
    yield from all_wrapped(_sides(series), width, 6)
    yield ""
    rows = list(_rows(series, depth))
    yield from _table(rows, max(len("steps"), len(series.steps)), width)
    signs = {sign for row in rows for sign in row.bars}
    if legend := [f"{sign} {words}" for sign, words in _LEGEND.items() if sign in signs]:
        yield ""
        yield from all_wrapped(legend, width)
    if appeared := list(_not_finite(series)):
        yield ""
        yield from all_wrapped(appeared, width)
    for number, step in enumerate(series.steps, 1):
        if step.judged is not None:
            yield ""
            yield f"step {number}:"
            yield from list(judged_lines(step.judged, width))[1:]


def _sides(series: Series) -> Iterator[str]:
    """Yield each checkpoint, its warnings, and how its names were matched with those of the one before."""
    notes = "", *(step.matching for step in series.steps)
    for number, (side, note) in enumerate(zip(series.sides, notes, strict=True)):
        yield printable(f"{number:>4}  {side.source}")
        for warning in side.warnings:
            yield printable(f"{'':<4}  warning: {warning}")
        if note:
            yield printable(f"{'':<4}  {note}")


def _not_finite(series: Series) -> Iterator[str]:
    """Yield the tensors in which NaN or Inf appeared, by step: beside other changes no bar shows them."""
    for number, step in enumerate(series.steps, 1):
        if names := [tensor.name for tensor in step.tensors if tensor.nan or tensor.inf]:
            count = plural(len(names), "tensor")
            yield f"step {number}: NaN or Inf appeared in {count}: {listed(names, _MAX_NAMED)}"


def _table(rows: Sequence[_Row], steps: int, width: int | None) -> Iterator[str]:
    """Yield the rows; steps that do not all fit beside a name are below it."""
    table = Table((40, 8, steps, len("started")), "<><<", (0, 1, 2, 2), name=0, spare=(1,))
    cells = [("module", "tensors", "steps", "started")]
    cells += [(row.label, f"{row.tensors:,}", row.bars, row.started) for row in rows]
    fitted = table.fitted(cells, width)
    if fitted is not None:
        yield from map(fitted.line, cells if width is None else map(fitted.shortened, cells))
        return
    room = max(1, (width or 0) - 2)
    for row in rows:
        yield shortened_start(row.label, room)
        yield from wrapped(f"  started: {row.started}", width)
        yield from (f"  {row.bars[start : start + room]}" for start in range(0, len(row.bars), room))


class _Row(NamedTuple):
    """A module, or a run of blocks."""

    label: str
    tensors: int
    bars: str
    started: str


def _rows(series: Series, depth: int | None) -> Iterator[_Row]:
    shown = _Modules(series)
    tree = shown.tree.tree
    folds: dict[int, int] = {}
    node = 0
    while node < len(tree):
        stop = folds.get(node)
        if tree.leaf[node] and tree.depths[node] > 1:
            node += 1
            continue
        yield shown.row(node, stop)
        if stop is not None:
            node = stop
        elif shown.is_same(node) or (depth is not None and tree.depths[node] >= depth):
            node = tree.end[node]
        else:
            folds.update(() if tree.leaf[node] else shown.folds(node))
            node += 1


class _Modules:
    """All tensors of a series as one tree, and for each node its bars."""

    def __init__(self, series: Series) -> None:
        self._steps = [{tensor.name: tensor for tensor in step.tensors} for step in series.steps]
        every = {tensor.name: tensor for step in reversed(series.steps) for tensor in step.tensors}
        self._unread_names = [{t.name for t in step.tensors if t.status == "unread"} for step in series.steps]
        first = {name: every[name] for step in self._steps for name in step}
        self.tree = DiffTree(list(first.values()))
        self._known: dict[int, tuple[list[float], list[float]]] = {}
        sizes = [
            t.relative for step in series.steps for t in step.tensors if t.relative and t.status == "changed"
        ]
        self._low = math.log10(min(sizes, default=1e-6))
        self._high = max(math.log10(max(sizes, default=1.0)), self._low + 1)

    def is_same(self, node: int) -> bool:
        """Whether nothing below a node ever changed, as far as all of it was compared."""
        return set(self._bars(node)) == {_NOTHING}

    def folds(self, node: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of blocks below a node whose bars are the same."""
        return self.tree.runs(node, self._bars, lambda block: self.is_same(block) or None)

    def row(self, node: int, stop: int | None) -> _Row:
        """Return the row of a node, or of a run of blocks."""
        parameters, buffers = map(_started, self._changes(node))
        words = "not known" if _UNREAD in self._bars(node) else "never"
        below = self.tree.below(node, stop)
        if parameters:
            words = f"step {parameters}"
        if buffers and (not parameters or buffers < parameters):
            first = f"{words}, " if parameters else ""
            is_beside = any(tensor.kind != "buffer" for tensor in below)
            words = f"{first}{'statistics ' if is_beside else ''}step {buffers}"
        return _Row(self.tree.label(node, stop), len(below), self._bars(node), words)

    def _changes(self, node: int) -> tuple[list[float], list[float]]:
        """Return the relative change in each step, of the parameters below a node and of the buffers.

        NaN for a change without a size.
        """
        if node not in self._known:
            tensors = self.tree.below(node)
            parameters = self._sums(t for t in tensors if t.kind != "buffer")
            self._known[node] = parameters, self._sums(t for t in tensors if t.kind == "buffer")
        return self._known[node]

    def _sums(self, tensors: Iterable[TensorDiff]) -> list[float]:
        names = [tensor.name for tensor in tensors]
        return [relative_change([step[name] for name in names if name in step]) for step in self._steps]

    def _bars(self, node: int) -> str:
        parameters, buffers = self._changes(node)
        bars = list(map(self._bar, parameters if any(parameters) else buffers))
        if any(parameters):
            bars = [
                _BUFFERS if other and not change else bar
                for bar, change, other in zip(bars, parameters, buffers, strict=True)
            ]
        unread = self._unread(node)
        return "".join(_UNREAD if bar == _NOTHING and n in unread else bar for n, bar in enumerate(bars))

    def _unread(self, node: int) -> set[int]:
        """Return the steps, counted from 0, in which a tensor below a node was not compared."""
        if not any(self._unread_names):
            return set()
        names = [tensor.name for tensor in self.tree.below(node)]
        return {n for n, step in enumerate(self._unread_names) if not step.isdisjoint(names)}

    def _bar(self, change: float) -> str:
        if math.isnan(change):
            return _OTHER
        if not change:
            return _NOTHING
        if math.isinf(change):
            return _BLOCKS[-1]
        share = (math.log10(change) - self._low) / (self._high - self._low)
        return _BLOCKS[max(0, min(len(_BLOCKS) - 1, round(share * (len(_BLOCKS) - 1))))]


def _started(changes: Sequence[float]) -> int:
    """Return the first step with a change, counted from 1; 0 if there is none."""
    return next((number for number, change in enumerate(changes, 1) if change), 0)
