"""TextLines: lines of text, wrapped to the width, of which as many are drawn as the screen shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.geometry import Region, Size
from textual.strip import Strip

from freezetui.tui.units import with_units
from freezetui.tui.widgets.drawing import Keeper, finisher, segments_of

#: The first column of a line in two columns; the second is wrapped beside it.
_COLUMN = re.compile(r" *[^ ]+(?: [^ ]+)* {2,}")


class _Piece(NamedTuple):
    """What one line of the screen shows: a part of line `y` of the text, from character `x` on."""

    text: Text
    x: int
    y: int


class TextLines(Keeper):
    """Lines of text, without border and padding, that can be selected.

    A line in two columns, with two spaces or more between, is wrapped within the second one.
    """

    DEFAULT_CSS = """
    TextLines {
        height: auto;
        width: 1fr;
    }
    """

    def __init__(self, text: Text | None = None, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = _split(text or Text())
        self._pieces: tuple[int, list[_Piece]] = 0, []

    def show(self, text: Text, layout: bool = False) -> None:
        """Show another text.

        Args:
            layout: whether the screen is laid out again for the number of its lines.
        """
        self._lines, self._pieces = _split(text), (0, [])
        self.refresh(layout=layout)

    def render(self) -> Text:
        """Return the whole text, which is what can be selected."""
        return Text("\n").join(self._lines)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines at this width."""
        return len(self._wrapped(width))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines of the text; they are kept until the next change."""
        width = self.size.width
        pieces, finished = self._wrapped(width), finisher(self, width)
        strips = []
        for y in range(crop.y, crop.bottom):
            key = min(y, len(pieces)), width
            if key not in self._kept:
                self._kept[key] = finished(self._line(pieces[y]) if y < len(pieces) else self._blank(width))
            strips.append(self._kept[key].crop(crop.x, crop.right))
        return strips

    def _blank(self, width: int) -> list[Segment]:
        return [Segment(" " * width, self.visual_style.rich_style)]

    def _line(self, piece: _Piece) -> list[Segment]:
        """Return a line with what is selected of it, and with its place in the text for the mouse."""
        text, selection = piece.text, self.text_selection
        if selection is not None and (span := selection.get_span(piece.y)) is not None:
            start, stop = max(0, span[0] - piece.x), len(text) if span[1] < 0 else span[1] - piece.x
            text = text.copy()
            text.stylize(self.screen.get_component_rich_style("screen--selection"), start, max(start, stop))
        return list(Strip(segments_of(self, text)).apply_offsets(piece.x, piece.y))

    def _wrapped(self, width: int) -> list[_Piece]:
        if self._pieces[0] != width:
            self._pieces = width, list(self._wrap(width)) if width else []
        return self._pieces[1]

    def _wrap(self, width: int) -> Iterator[_Piece]:
        for y, text in enumerate(self._lines):
            if cell_len(text.plain) <= width:
                yield _Piece(text, 0, y)
                continue
            line = with_units(text)
            column = _COLUMN.match(line.plain)
            indent = column.end() if column is not None and 2 * column.end() < width else 0
            x = indent
            for part in line[indent:].wrap(self.app.console, width - indent):
                x = max(x, line.plain.find(part.plain, x))
                before = Text(" " * indent) if x > indent else line[:indent]
                yield _Piece(before + part, x - indent, y)
                x += len(part)


def _split(text: Text) -> Sequence[Text]:
    return list(text.split("\n", allow_blank=True))
