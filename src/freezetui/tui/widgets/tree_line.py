"""One line of the tree as styled text, fitted to a width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from freezetui import numbers
from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.plan import FreezePlan, FreezeTotals, State
from freezetui.text import printable
from freezetui.tui.widgets.visible_rows import VisibleRows

Styles = Mapping[str, Style]

SIGNS: dict[State, str] = {"frozen": "■", "trainable": "○", "mixed": "◐", "untrainable": "·"}
WORDS: dict[State, str] = {
    "frozen": "frozen",
    "trainable": "train",
    "mixed": "mixed",
    "untrainable": "fixed",
}
#: What has its own style: the tree's component classes `tree--NAME`.
STYLES = ("plain", "module", "dim", "tied", "frozen", "trainable", "mixed", "untrainable", "cursor")
#: By the outcome of the check (`session.outcome.Outcome`).
MARKS = (" ", "✓", "⚑", "?", "!", "✗")
_BAR = 8
_MAX_WIDTH_NAME = 72


class Columns(NamedTuple):
    """How many cells each column gets; 0 omits it."""

    state: int
    name: int
    shape: int
    dtype: int
    elements: int
    bar: int
    percent: int = 6

    @classmethod
    def fit(cls, width: int) -> Columns:
        """Return the columns for a tree this wide; the least important are omitted first."""
        state = 11 if width >= 56 else 3
        shape = 18 if width >= 96 else 14 if width >= 76 else 0
        dtype = 10 if width >= 100 else 0
        bar = _BAR + 1 if width >= 66 else 0
        elements = 10
        rest = width - state - shape - dtype - elements - bar - 6
        return cls(state, min(max(8, rest), _MAX_WIDTH_NAME), shape, dtype, elements, bar)

    def at(self, x: int, depth: int) -> Literal["state", "arrow", "rest"]:
        """Return what is drawn at cell `x` of a line at this depth."""
        if x < self.state:
            return "state"
        arrow = self.state + _indent(depth, self.name)
        return "arrow" if arrow <= x < arrow + 2 else "rest"

    def heading(self) -> str:
        """Return the line with the columns' names."""
        text = _left("state", self.state) if self.state > 3 else " " * self.state
        text += _left("name", self.name)
        text += _right("shape", self.shape) if self.shape else ""
        text += _right("dtype", self.dtype) if self.dtype else ""
        text += _right("elements", self.elements)
        share = "trainable" if self.bar else "train"
        return text + _right(share, self.bar + self.percent)


class TreeLine(NamedTuple):
    """What one line shows; `Columns` and the styles decide how."""

    label: str
    depth: int
    arrow: str
    totals: FreezeTotals
    tensor: TensorInfo | None
    mark: str
    tied: bool
    layer: str = ""

    def segments(self, columns: Columns, styles: Styles) -> list[Segment]:
        """Return the line's segments, together exactly as wide as the columns."""
        state = self.totals.state
        dim = styles["dim"] if state == "untrainable" else styles["plain"]
        brief = SIGNS[state] + self.mark
        word = f"{SIGNS[state]} {WORDS[state]:<6} {self.mark}" if columns.state > len(brief) + 1 else brief
        parts = [Segment(_left(word, columns.state), styles[state]), *self._name(columns.name, styles)]
        if columns.shape and self.layer:
            width = columns.shape + columns.dtype
            parts.append(Segment(_right(self._layer(width - 1), width), styles["dim"]))
        elif columns.shape:
            shape = numbers.shape(self.tensor.shape) if self.tensor else ""
            parts.append(Segment(_right(shape, columns.shape), dim))
        if columns.dtype and not self.layer:
            parts.append(Segment(_right(self.tensor.dtype if self.tensor else "", columns.dtype), dim))
        parts.append(Segment(_right(self._elements(), columns.elements), dim))
        return parts + self._share(columns, styles)

    def _name(self, width: int, styles: Styles) -> list[Segment]:
        indent = _indent(self.depth, width)
        lead = " " * indent + self.arrow
        if self.totals.state == "untrainable":
            style = styles["dim"]
        else:
            style = styles["plain"] if self.tensor else styles["module"]
        tail = " =" if self.tied else ""
        room = width - indent - cell_len(self.arrow) - len(tail) - 1
        name = printable(self.label[: 4 * max(1, room)])
        if cell_len(name) > room or len(self.label) > 4 * max(1, room):
            name = set_cell_size(name, max(0, room - 1)) + "…"
        used = indent + cell_len(self.arrow) + cell_len(name) + len(tail)
        return [
            Segment(lead, styles["dim"]),
            Segment(name, style),
            Segment(tail + " " * max(0, width - used), styles["tied"]),
        ]

    def _layer(self, room: int) -> str:
        """Return the class of the module with its numbers, or without them if there is no room."""
        layer = printable(self.layer)
        return layer if cell_len(layer) <= room else layer.partition(" ")[0]

    def _elements(self) -> str:
        if self.tensor is not None:
            return numbers.count(self.tensor.elements)
        return numbers.count(self.totals.parameters.elements or self.totals.untrainable.elements)

    def _share(self, columns: Columns, styles: Styles) -> list[Segment]:
        if self.totals.state == "untrainable":
            return [Segment(" " * (columns.bar + columns.percent), styles["dim"])]
        share = self.totals.share
        parts = []
        if columns.bar:
            filled = round(share * _BAR)
            if 0 < share < 1:
                filled = min(max(filled, 1), _BAR - 1)
            parts = [
                Segment(" ", styles["plain"]),
                Segment("━" * filled, styles["trainable"]),
                Segment("─" * (_BAR - filled), styles["frozen"]),
            ]
        parts.append(Segment(_right(numbers.percent(share), columns.percent), styles["plain"]))
        return parts


def line_of(
    node: int, rows: VisibleRows, plan: FreezePlan, marks: bytes, layers: Mapping[int, str]
) -> TreeLine:
    """Return what the line of `node` shows.

    Args:
        marks: per tensor, its position in `MARKS`; empty for none.
        layers: per module whose class is known, its class and numbers.
    """
    tree, spans = rows.tree, rows.spans(node)
    family = rows.family(node)
    tensor = tree.tensor(node) if family is None else None
    label = tree.names[node] if family is None else f"{{{family.start}..{family.stop - 1}}} ×{len(family)}"
    arrow = "  " if tensor else "▾ " if rows.is_open(node) else "▸ "
    mark = max((max(marks[a:b], default=0) for a, b in spans), default=0)
    tied = tensor is not None and tree.first[node] in tree.tie_groups
    totals, layer = plan.totals_over(spans), "" if tensor else layers.get(node, "")
    return TreeLine(label, tree.depths[node], arrow, totals, tensor, MARKS[mark], tied, layer)


def _indent(depth: int, width: int) -> int:
    """Return the cells before the arrow of a line at this depth in a name column this wide."""
    return min(2 * depth, max(0, width // 2))


def _left(text: str, width: int) -> str:
    return set_cell_size(text, width - 1) + " "


def _right(text: str, width: int) -> str:
    if len(text) >= width:
        text = text[: width - 2] + "…"
    return text.rjust(width)
