"""TreePainter: draws the lines of the tree, as they are now."""

from __future__ import annotations

from collections.abc import Mapping

from rich.segment import Segment

from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.numbers import shape
from freezetui.tui.columns import SHARE, Measure
from freezetui.tui.widgets.block_groups import Span, braces
from freezetui.tui.widgets.tree_line import Columns, Styles, TreeLine, Value
from freezetui.tui.widgets.visible_rows import VisibleRows

#: A module with more tensors of its own is not one layer.
_MAX_LAYER_TENSORS = 16


class TreePainter:
    """Turns nodes into drawn lines.

    Attributes:
        plan: whose states are shown.
        rows: which lines there are.
        marks: per tensor, the outcome of the last check; empty for none.
        layers: per module whose class is known, its class and numbers.
        measure: what the last column shows.
    """

    def __init__(self, plan: FreezePlan, rows: VisibleRows) -> None:
        self.plan, self.rows = plan, rows
        self.marks = b""
        self.layers: Mapping[int, str] = {}
        self.measure: Measure = SHARE
        self._measured: ParamTree | None = None
        self._deepest = 0

    @property
    def deepest(self) -> int:
        """The depth of the deepest line of the tree, expanded or not."""
        if self._measured is not self.rows.tree:
            self._measured, self._deepest = self.rows.tree, max(self.rows.tree.depths)
        return self._deepest

    def segments(self, number: int, columns: Columns, width: int, styles: Styles) -> list[Segment]:
        """Return a line as drawn.

        Args:
            number: of the line, counted from 0; there may be no such line.
            width: in cells.
        """
        segments: list[Segment] = []
        if self.rows.matches == [] and number == 0:
            segments = [Segment("   nothing matches", styles["dim"])]
        elif number < len(self.rows):
            segments = self.line(self.rows.visible[number]).segments(columns, styles)
        return Segment.adjust_line_length(segments, width, styles["plain"])

    def line(self, node: int) -> TreeLine:
        """Return what the line of `node` shows."""
        rows, tree, spans = self.rows, self.rows.tree, self.rows.spans(node)
        family = rows.family(node)
        tensor = tree.tensor(node) if family is None else None
        is_open = tensor is None and rows.is_open(node)
        totals = rows.totals(node, self.plan)
        has_value = self.measure.name != "share" or totals.state != "untrainable"
        return TreeLine(
            label=segment(tree.names[node]) if family is None else f"{braces(family)} ×{len(family)}",
            depth=tree.depths[node],
            deepest=self.deepest,
            arrow="  " if tensor else "▾ " if is_open else "▸ ",
            totals=totals,
            tensor=tensor,
            mark=self._mark(spans),
            tied=tensor is not None and tree.first[node] in tree.tie_groups,
            layer="" if tensor else self.layers.get(node, ""),
            shape="" if is_open else weight_shape(tree, node),
            times=rows.times(node),
            value=self._value(spans) if has_value else Value(),
        )

    def _mark(self, spans: list[Span]) -> int:
        """Return the worst mark of some tensors; tensors that are tied have the same."""
        marks = self.marks
        if not marks or not spans:
            return 0
        if not any(marks[spans[0][0] : spans[-1][1]]):
            return 0
        return max(max(marks[a:b], default=0) for a, b in spans)

    def _value(self, spans: list[Span]) -> Value:
        tree, measure = self.rows.tree, self.measure
        value = measure.value(tree, spans)
        if value is None:
            return Value()
        is_wrong = measure.is_wrong(spans)
        return Value(measure.text(tree, value, spans), measure.bar(tree, value), measure.is_share, is_wrong)


def weight_shape(tree: ParamTree, node: int) -> str:
    """Return the shape of a tensor; of a layer's weight, if nothing but a few tensors is below `node`."""
    tensor = tree.tensor(node)
    if tensor is not None:
        return shape(tensor.shape)
    below = tree.end[node] - node - 1
    start, stop = tree.span(node)
    if not 0 < below <= _MAX_LAYER_TENSORS or stop - start != below:
        return ""
    weights = [i for i in range(start, stop) if tree.names[tree.position[i]] == "weight"]
    largest = max(range(start, stop), key=lambda i: tree.tensors[i].elements)
    return shape(tree.tensors[weights[0] if weights else largest].shape)


def segment(name: str) -> str:
    """Return a segment of a name as it is shown; an empty one, as of "a..b", in quotes."""
    return name or "''"
