"""One line of the tree as styled text, fitted to a width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from freezetui import numbers
from freezetui.checkpoint.types import TensorInfo
from freezetui.formatting.words import untrainable_word
from freezetui.freeze.plan import FreezeTotals, State
from freezetui.text import printable

Styles = Mapping[str, Style]

SIGNS: dict[State, str] = {"frozen": "■", "trainable": "○", "mixed": "◐", "untrainable": "·"}
WORDS: dict[State, str] = {
    "frozen": "frozen",
    "trainable": "train",
    "mixed": "mixed",
}
#: What has its own style: the tree's component classes `tree--NAME`.
STYLES = (
    *("plain", "module", "dim", "tied", "frozen", "trainable", "mixed", "untrainable"),
    *("proven", "unproven", "wrong", "selected", "cursor"),
)
#: By the outcome of the check (`session.outcome.Outcome`).
MARKS = (" ", "✓", "⚑", "?", "!", "✗")
#: By the mark, its style.
MARK_STYLES = ("plain", "proven", "proven", "unproven", "unproven", "wrong")
_BAR = 8
_NUMBER = 9
_MIN_NAME = 30
_MAX_NAME = 72
#: Cells that the deepest line keeps for its name.
_MIN_LABEL = 16


class Columns(NamedTuple):
    """How many cells each column gets; 0 omits it."""

    state: int
    name: int
    layer: int
    shape: int
    dtype: int
    elements: int
    bar: int
    number: int = _NUMBER

    @classmethod
    def fit(cls, width: int) -> Columns:
        """Return the columns for a tree this wide; the least important are omitted first."""
        state = 11 if width >= 56 else 3
        bar = _BAR + 1 if width >= 66 else 0
        elements = 10
        name = width - state - bar - elements - _NUMBER
        shape = 16 if name >= _MIN_NAME - 4 + 16 else 0
        name -= shape
        layer = 22 if name >= _MIN_NAME + 22 else 0
        name -= layer
        dtype = 10 if layer and name >= _MIN_NAME + 10 else 0
        name -= dtype
        more = min(10, max(0, name - 40)) if layer else 0
        name -= more
        return cls(state, min(max(8, name), _MAX_NAME), layer + more, shape, dtype, elements, bar)

    def at(self, x: int, depth: int, deepest: int) -> Literal["state", "arrow", "rest"]:
        """Return what is drawn at cell `x` of a line at this depth; `deepest` is that of the whole tree."""
        if x < self.state:
            return "state"
        arrow = self.state + len(_indent(depth, deepest, self.name))
        return "arrow" if arrow <= x < arrow + 2 else "rest"

    def heading(self, values: tuple[str, str], note: str = "", layers: bool = False) -> str:
        """Return the line with the columns' names; what lines show beside their names is named there, too.

        Args:
            values: the name of the last column, short and long.
            note: what to say beside "name".
            layers: whether the classes of modules are known.
        """
        text = _left("state" if self.state > 3 else "st", self.state)
        beside = [
            name for name, shown in (("layer", layers and not self.layer), ("shape", not self.shape)) if shown
        ]
        name = f"name{note and '  '}{note}"
        while beside and len(name) + 2 + len(" ".join(beside)) >= self.name:
            beside.pop(0)
        right = " ".join(beside)
        text += _left(name.ljust(self.name - 1 - len(right)) + right if right else name, self.name)
        text += _left("layer", self.layer) if self.layer else ""
        text += _right("shape", self.shape) if self.shape else ""
        text += _right("dtype", self.dtype) if self.dtype else ""
        text += _right("elements", self.elements)
        room = self.bar + self.number
        return text + _right(values[1] if len(values[1]) < room else values[0], room)


class Value(NamedTuple):
    """What the last column shows.

    Attributes:
        text: "" if the value is not known.
        bar: how much of a full bar, 0 to 1.
        is_split: whether the bar shows which part of it trains.
        is_wrong: whether the value is against the plan.
    """

    text: str = ""
    bar: float = 0.0
    is_split: bool = False
    is_wrong: bool = False


class TreeLine(NamedTuple):
    """What one line shows; `Columns` and the styles decide how.

    Attributes:
        deepest: the depth of the deepest line of the tree.
        times: how many blocks the line stands for, if it is inside the first of them.
        shape: of the tensor, or of a closed layer's weight.
    """

    label: str
    depth: int
    deepest: int
    arrow: str
    totals: FreezeTotals
    tensor: TensorInfo | None
    mark: int
    tied: bool
    layer: str
    shape: str
    times: int
    value: Value

    def segments(self, columns: Columns, styles: Styles) -> list[Segment]:
        """Return the line's segments, together exactly as wide as the columns."""
        dim = styles["dim"]
        parts = [*self._state(columns.state, styles), *self._name(columns, styles)]
        if columns.layer:
            parts.append(Segment(_left(_fitted(self.layer, columns.layer - 1), columns.layer), dim))
        if columns.shape:
            parts.append(Segment(_right(self.shape, columns.shape), dim))
        if columns.dtype:
            parts.append(Segment(_right(self.tensor.dtype if self.tensor else "", columns.dtype), dim))
        parts.append(Segment(_right(self._elements(), columns.elements), dim))
        return _joined(parts + self._value(columns, styles))

    def _state(self, width: int, styles: Styles) -> list[Segment]:
        state = self.totals.state
        mark = Segment(MARKS[self.mark], styles[MARK_STYLES[self.mark]])
        name = untrainable_word(self.tensor) if state == "untrainable" else WORDS[state]
        word = f"{SIGNS[state]} {name:<6} " if width > 3 else SIGNS[state]
        return [
            Segment(word, styles[state]),
            mark,
            Segment(" " * (width - cell_len(word) - 1), styles["plain"]),
        ]

    def _name(self, columns: Columns, styles: Styles) -> list[Segment]:
        width = columns.name
        lead = _indent(self.depth, self.deepest, width) + self.arrow
        if self.totals.state == "untrainable":
            style = styles["dim"]
        else:
            style = styles["plain"] if self.tensor else styles["module"]
        tail = (f" ×{self.times:,}" if self.times > 1 else "") + (" =" if self.tied else "")
        room = width - len(lead) - len(tail) - 1
        name = end_of(self.label, room)
        left = room - cell_len(name)
        beside = self._beside(columns, left - 2)
        between = " " * (left - cell_len(beside))
        shared = Segment(tail, styles["tied"])
        rest = Segment(f"{between}{beside} ", styles["dim"])
        return [Segment(lead, styles["dim"]), Segment(name, style), shared, rest]

    def _beside(self, columns: Columns, room: int) -> str:
        """Return what has no column of its own, as much as fits beside the name."""
        layer = "" if columns.layer else printable(self.layer)
        shape = "" if columns.shape else self.shape
        kind = layer.partition(" ")[0]
        for text in (f"{kind} {shape}" if kind and shape else layer or shape, shape, kind):
            if 0 < cell_len(text) <= room:
                return text
        return ""

    def _elements(self) -> str:
        if self.tensor is not None and self.times == 1:
            return numbers.count(self.tensor.elements)
        return numbers.count(self.totals.parameters.elements or self.totals.untrainable.elements)

    def _value(self, columns: Columns, styles: Styles) -> list[Segment]:
        value = self.value
        wrong = styles["wrong"] if value.is_wrong else styles["plain"]
        text = Segment(_right(value.text, columns.number), wrong)
        if not columns.bar:
            return [text]
        filled = min(_BAR, math.ceil(value.bar * _BAR - 0.01)) if value.text else 0
        train = round(filled * self.totals.share) if value.is_split else 0
        if value.is_split and 0 < self.totals.share < 1 and filled > 1:
            train = min(max(train, 1), filled - 1)  # both parts are there
        cells = filled - train
        return [
            Segment(" ", styles["plain"]),
            Segment("━" * train, styles["trainable"]),
            Segment(("─" if value.is_split else "▬") * cells, styles["frozen"] if value.is_split else wrong),
            Segment(" " * (_BAR - filled), styles["plain"]),
            text,
        ]


def _joined(parts: list[Segment]) -> list[Segment]:
    """Return the segments with those of the same style in one; drawing takes time for each."""
    joined: list[Segment] = []
    for part in parts:
        if joined and part.style is joined[-1].style:
            joined[-1] = Segment(joined[-1].text + part.text, part.style)
        elif part.text:
            joined.append(part)
    return joined


def _fitted(layer: str, room: int) -> str:
    """Return the class of a module with its numbers, or without them if they do not fit."""
    layer = printable(layer)
    return layer if cell_len(layer) <= room else layer.partition(" ")[0]


def end_of(label: str, room: int) -> str:
    """Return a name in at most `room` cells; the start of a long one is left out."""
    name = printable(label[-4 * max(1, room) :])
    if cell_len(name) <= room and len(label) <= 4 * max(1, room):
        return name
    while name and cell_len(name) >= room:
        name = name[max(1, (cell_len(name) - room) // 2) :]
    return "…"[: max(0, room)] + name


def _indent(depth: int, deepest: int, width: int) -> str:
    """Return the cells before the arrow: two a level, in a deep tree one; the level's number where none fit.

    Args:
        deepest: the depth of the deepest line, so that all lines of a tree are indented alike.
    """
    room = max(0, min(width // 2, width - _MIN_LABEL))
    step = 2 if 2 * deepest <= room else 1
    if step * depth <= room:
        return " " * (step * depth)
    return f"{depth} ".rjust(room) if len(str(depth)) < room else " " * room


def _left(text: str, width: int) -> str:
    return set_cell_size(text, width - 1) + " "


def _right(text: str, width: int) -> str:
    if len(text) >= width:
        text = text[: width - 2] + "…"
    return text.rjust(width)
