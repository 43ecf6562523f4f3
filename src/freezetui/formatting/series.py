"""Formats the output of `freezetui diff` for several checkpoints: when each module started to change."""

from __future__ import annotations

import math
from collections.abc import Iterator

from freezetui.diff.report import Series, relative_change
from freezetui.formatting.diff import DiffTree, judged_lines
from freezetui.freeze.blocks import repeats
from freezetui.text import printable

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING, _OTHER = "·", "!"


def series_lines(series: Series, depth: int | None = None) -> Iterator[str]:
    """Yield a row of small bars for each module, one for each step from a checkpoint to the next.

    The bars of all rows share one scale of decades. A dot means no change, "!" a change without a size,
    such as a new shape.

    Args:
        depth: how many levels of modules; None prints all. Repeated blocks with the same changes are folded.
    """
    sources = [series.steps[0].before.source, *(step.after.source for step in series.steps)]
    for number, source in enumerate(sources):
        yield printable(f"{number:>4}  {source}")
    yield ""
    yield f"{'module':<40} {'tensors':>8}  {'steps':<5}  started"
    yield from _rows(series, depth)
    for number, step in enumerate(series.steps, 1):
        if step.judged is not None:
            yield ""
            yield f"step {number}:"
            yield from list(judged_lines(step.judged))[1:]


def _rows(series: Series, depth: int | None) -> Iterator[str]:
    shown = _Modules(series)
    tree = shown.tree.tree
    folds: dict[int, int] = {}
    node = 0
    while node < len(tree):
        stop = folds.get(node)
        if tree.leaf[node] and tree.depths[node] > 1:
            node += 1
            continue
        yield shown.line(node, stop)
        if stop is not None:
            node = stop
        elif not shown.moved(node) or (depth is not None and tree.depths[node] >= depth):
            node = tree.end[node]
        else:
            folds.update(() if tree.leaf[node] else shown.folds(node))
            node += 1


class _Modules:
    """All tensors of a series as one tree, and for each node its bars."""

    def __init__(self, series: Series) -> None:
        self._steps = [{tensor.name: tensor for tensor in step.tensors} for step in series.steps]
        every = {tensor.name: tensor for step in reversed(series.steps) for tensor in step.tensors}
        first = {name: every[name] for step in self._steps for name in step}
        self.tree = DiffTree(list(first.values()))
        sizes = [t.relative for step in series.steps for t in step.tensors if t.relative]
        self._low = math.log10(min(sizes, default=1e-6))
        self._high = max(math.log10(max(sizes, default=1.0)), self._low + 1)

    def changes(self, node: int) -> list[float]:
        """Return the relative change below a node in each step; NaN for a change without a size."""
        names = [tensor.name for tensor in self.tree.below(node)]
        return [relative_change([step[name] for name in names if name in step]) for step in self._steps]

    def moved(self, node: int) -> bool:
        """Whether anything below a node ever changed."""
        return any(self.changes(node))

    def folds(self, node: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of repeated blocks below a node whose bars are the same."""
        tree = self.tree.tree
        for start, stop in repeats(tree, node):
            blocks = [child for child in tree.children(node) if start <= child < stop]
            if len({self._bars(self.changes(block)) for block in blocks}) == 1:
                yield start, stop

    def line(self, node: int, stop: int | None) -> str:
        """Return the row of a node, or of a run of blocks."""
        changes = self.changes(node)
        started = next((number for number, change in enumerate(changes, 1) if change), None)
        word = f"step {started}" if started else "never"
        tensors = len(self.tree.below(node, stop))
        return f"{self.tree.label(node, stop):<40} {tensors:>8,}  {self._bars(changes):<5}  {word}"

    def _bars(self, changes: list[float]) -> str:
        return "".join(map(self._bar, changes))

    def _bar(self, change: float) -> str:
        if math.isnan(change):
            return _OTHER
        if not change:
            return _NOTHING
        if math.isinf(change):
            return _BLOCKS[-1]
        share = (math.log10(change) - self._low) / (self._high - self._low)
        return _BLOCKS[max(0, min(len(_BLOCKS) - 1, round(share * (len(_BLOCKS) - 1))))]
