"""LineRange: lines that are selected together, from an anchor to the cursor."""

from __future__ import annotations

from freezetui.tui.widgets.block_groups import Span
from freezetui.tui.widgets.visible_rows import VisibleRows


class LineRange:
    """The lines between an anchor and the cursor; the anchor is a node, so that it stays when lines change.

    Attributes:
        anchor: the node where the range began; None if no lines are selected.
    """

    def __init__(self) -> None:
        self.anchor: int | None = None

    def lines(self, rows: VisibleRows, cursor: int) -> range:
        """Return the selected lines; only the cursor's without a range."""
        start = cursor if self.anchor is None else rows.line_of(self.anchor)
        return range(min(start, cursor), max(start, cursor) + 1)

    def spans(self, rows: VisibleRows, cursor: int) -> list[Span]:
        """Return the tensors that the selected lines act on, as ascending, disjoint ranges."""
        lines = self.lines(rows, cursor)
        nodes = rows.visible[lines.start : lines.stop]
        if rows.key is None and rows.matches is None and not rows.groups.stops:  # nothing is left out between
            first = rows.tree.first
            return [(first[nodes[0]], max(first[rows.tree.end[node]] for node in nodes))]
        spans = sorted(span for node in nodes for span in rows.spans(node))
        joined: list[Span] = []
        for start, stop in spans:
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(stop, joined[-1][1])
            else:
                joined.append((start, stop))
        return joined
