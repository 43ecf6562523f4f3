"""ModelMap: the whole model in one line, each cell a share of its parameters in model order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from freezetui.freeze.plan import FROZEN, TRAINABLE, UNTRAINABLE
from freezetui.freeze.tree import ParamTree
from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.tree_line import MARK_STYLES, MARKS, STYLES
from freezetui.tui.widgets.tree_painter import TreePainter
from freezetui.tui.widgets.tree_view import TreeView

#: By what is in a cell: nothing that can train, frozen, trainable, both.
_BLOCKS = {(False, False): "·", (True, False): "▓", (False, True): "░", (True, True): "▒"}
_STYLES = {"·": "dim", "▓": "frozen", "█": "frozen", "░": "trainable", "▒": "mixed"}
#: Frozen, and the check has proven that it stays unchanged.
_PROVEN = "█"
#: By how large a value is, of what is not a share: unknown, zero, or more.
_UNKNOWN, _ZERO, _HEIGHTS = " ", "·", "▁▂▃▄▅▆▇█"
#: The outcome from which on a mark takes the place of the state: what was not proven or is against the plan.
_FIRST_MARK = MARKS.index("?")
_CURSOR = "◆"
#: Styles of cells that the cursor does not cover if another of its line's will do.
_MARKED = ("unproven", "wrong")
#: By the sign of a cell, what it says, in the order of the legend.
LEGEND = {
    "▓": "frozen",
    "█": "unchanged",
    "░": "trainable",
    "▒": "both",
    "·": "buffers",
    "⚑": "by its flag",
    "?": "not proven",
    "!": "look at it",
    "✗": "frozen, but changed",
}


class Cell(NamedTuple):
    """What one cell shows: a character and the name of its style in the tree."""

    text: str
    style: str


class ModelMap(Guarded, Widget):
    """One line as wide as the screen: what is frozen and what trains, what the last check found, or values.

    Where the tree's last column shows gradients or changes, the map shows their size; else the states. The
    place of the cursor is marked, and a click goes there.

    Args:
        tree: whose plan, marks, values and cursor are shown.
    """

    DEFAULT_CSS = """
    ModelMap {
        height: 1;
        width: 1fr;
    }
    """

    class Picked(Message):
        """The user clicked on a place of the model: one of the tree's nodes."""

        def __init__(self, node: int) -> None:
            super().__init__()
            self.node = node

    def __init__(self, tree: TreeView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tree = tree
        self._known: tuple[tuple[object, ...], list[Cell]] | None = None

    def render_line(self, y: int) -> Strip:
        """Draw the cells; those of the line under the cursor have its background."""
        width = self.size.width
        plain, marked = self._tree.styles_over(), self._tree.styles_over("cursor")
        cells = self._cells(width)
        if not cells:
            return Strip.blank(width, plain["plain"])
        start, stop = self._cursor(width)
        whole = self._tree.node == 0
        if marked["plain"].reverse:  # reverse video turns a dark cell into a light one
            marked = {name: plain[name] + Style(underline=True) for name in STYLES}
        segments = []
        for place, cell in enumerate(cells):
            styles = marked if start <= place < stop and not whole else plain
            segments.append((cell.text, styles[cell.style]))
        place = next((n for n in range(start, stop) if cells[n].style not in _MARKED), start)
        segments[place] = _CURSOR, marked["plain"]
        joined = (
            ("".join(text for text, _ in run), style) for style, run in groupby(segments, lambda s: s[1])
        )
        return Strip([Segment(text, style) for text, style in joined])

    def legend(self) -> str:
        """Return in words what the signs say that are on the map now."""
        measure, signs = self._tree.painter.measure, {cell.text for cell in self._cells(self.size.width)}
        if not signs:
            return ""
        if not measure.is_share:
            said = [f"map: {measure.heading[0]}", f"{_ZERO} none" if _ZERO in signs else ""]
            said.append("the higher, the larger" if signs & set(_HEIGHTS) else "")
            return "  ".join(filter(None, said))
        return f"map: {'  '.join(f'{sign} {word}' for sign, word in LEGEND.items() if sign in signs)}"

    def _cells(self, width: int) -> list[Cell]:
        """Return the cells, which stay the same while the cursor moves."""
        painter = self._tree.painter
        shown = (painter.plan, painter.plan.version, painter.rows.tree, painter.marks, painter.measure, width)
        if self._known is None or any(
            a is not b and a != b for a, b in zip(self._known[0], shown, strict=True)
        ):
            self._known = shown, list(map_cells(painter, width))
        return self._known[1]

    def _cursor(self, width: int) -> tuple[int, int]:
        """Return the cells of the line under the cursor, at least one."""
        rows = self._tree.rows
        before = rows.tree.parameters_before
        spans = rows.spans(self._tree.node) or [(0, 0)]
        low = before[spans[0][0]] * width // before[-1]
        high = -(-before[spans[-1][1]] * width // before[-1])
        start = min(low, width - 1)
        return start, max(high, start + 1)

    def on_click(self, event: events.Click) -> None:
        """Go to the tensor that is drawn there."""
        tree = self._tree.rows.tree
        node = node_at(tree, event.x, self.size.width)
        if node is not None:
            self.post_message(self.Picked(node))


def map_cells(painter: TreePainter, width: int) -> Iterator[Cell]:
    """Yield what each of `width` cells shows; nothing for a model without elements."""
    tree = painter.rows.tree
    before = tree.parameters_before
    total, start = before[-1], 0
    drawn, cell = (-1, -1), Cell("", "")
    for place in range(width if total else 0):
        end = total * (place + 1)
        stop = bisect_left(before, -(-end // width)) if place < width - 1 else len(tree.tensors)
        if (start, stop) != drawn:  # a large tensor fills many cells
            drawn, cell = (start, stop), _cell(painter, start, stop)
        yield cell
        start = stop if before[stop] * width == end else stop - 1  # also what has no width, such as a buffer


def _cell(painter: TreePainter, start: int, stop: int) -> Cell:
    """Return the cell of some tensors: their state, or how large their value is."""
    tree, measure = painter.rows.tree, painter.measure
    if measure.is_share:
        return _state(painter, start, stop)
    value = measure.value(tree, [(start, stop)])
    if not value:
        return Cell(_UNKNOWN if value is None else _ZERO, "dim")
    height = max(1, round(measure.bar(tree, value) * len(_HEIGHTS)))
    return Cell(_HEIGHTS[height - 1], "wrong" if measure.is_wrong([(start, stop)]) else "trainable")


def _state(painter: TreePainter, start: int, stop: int) -> Cell:
    """Return the cell of some tensors: what was not proven, else their state."""
    worst = max(painter.marks[start:stop], default=0)
    if worst >= _FIRST_MARK:
        return Cell(MARKS[worst], MARK_STYLES[worst])
    states, tree = painter.plan.states[start:stop], painter.rows.tree
    for index in tree.tied_in(start, stop):
        if tree.ties[index] >= 0:  # drawn where it is first
            states[index - start] = UNTRAINABLE
    block = _BLOCKS[states.count(FROZEN) > 0, states.count(TRAINABLE) > 0]
    if block == "▓" and worst:
        block = _PROVEN
    return Cell(block, _STYLES[block])


def node_at(tree: ParamTree, x: int, width: int) -> int | None:
    """Return the node of the tensor in the middle of cell `x`; None if the model has no elements."""
    before = tree.parameters_before
    if not before[-1] or not 0 <= x < width:
        return None
    index = bisect_right(before, before[-1] * (2 * x + 1) // (2 * width)) - 1
    return tree.position[min(index, len(tree.tensors) - 1)]
