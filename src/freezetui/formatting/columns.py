"""Fits tables and sentences into the width of a terminal, so that no figure is broken at its edge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: Letters that a shortened name keeps at least.
_MIN_NAME = 16
#: Words, and what is between backticks or quotes, with the spaces before them.
_WORD = re.compile(r" *(?:[^ `]*`[^`]*`[^ ]*|[^ ]+)")


class Table(NamedTuple):
    """The columns of a table.

    Attributes:
        widths: of each column, where there is room.
        aligns: "<" or ">" for each.
        gaps: spaces before each.
        name: the column whose texts may be shortened at their start.
        spare: columns to leave out of a table that is too wide, the first one first.
    """

    widths: tuple[int, ...]
    aligns: str
    gaps: tuple[int, ...]
    name: int
    spare: tuple[int, ...] = ()

    def line(self, cells: Sequence[str]) -> str:
        """Return a row as one line; a cell that is too wide pushes the next ones aside."""
        parts = []
        for cell, width, align, gap in zip(cells, self.widths, self.aligns, self.gaps, strict=True):
            if width >= 0:
                parts.append(" " * gap + format(cell, f"{align}{width}"))
        return "".join(parts).rstrip()

    def fitted(self, rows: Iterable[Sequence[str]], width: int | None) -> Table | None:
        """Return the table with columns that fit a width; None if not all that matters fits.

        Args:
            width: None for a pipe or a file, which have no edge.
        """
        if width is None:
            return self
        rows = list(rows)
        natural = [max(map(len, cells), default=0) for cells in zip(*rows, strict=True)] or list(self.widths)
        roomy = tuple(map(max, self.widths, natural))
        if self._total(roomy) <= width:
            return self._replace(widths=roomy)
        for left_out in range(len(self.spare) + 1):
            widths = [-1 if number in self.spare[:left_out] else size for number, size in enumerate(natural)]
            widths[self.name] = 0
            room = width - self._total(widths)
            if room >= min(natural[self.name], _MIN_NAME):
                widths[self.name] = min(room, natural[self.name])
                return self._replace(widths=tuple(widths))
        return None

    def shortened(self, cells: Sequence[str]) -> list[str]:
        """Return the cells of a row with a name that fits its column."""
        found = list(cells)
        found[self.name] = shortened_start(found[self.name], self.widths[self.name])
        return found

    def _total(self, widths: Sequence[int]) -> int:
        pairs = zip(self.gaps, widths, strict=True)
        return sum(gap + size for gap, size in pairs if size >= 0)


def shortened_start(text: str, width: int) -> str:
    """Return the end of a text that is too wide; an indentation stays where there is room for it."""
    if len(text) <= width:
        return text
    indent = len(text) - len(text.lstrip())
    indent = min(indent, max(0, width // 2))
    left = width - indent - 1
    return f"{' ' * indent}…{text[len(text) - left :] if left > 0 else ''}"


def wrapped(line: str, width: int | None, hang: int = 2) -> Iterator[str]:
    """Yield a line in parts that fit a width, broken between words; code in backticks is one word.

    Args:
        width: None for no edge.
        hang: how much further than the line its other parts are indented.
    """
    if width is None or len(line) <= width:
        yield line
        return
    indent = " " * min(len(line) - len(line.lstrip()) + hang, width // 2)
    part = ""
    for word in _WORD.findall(line):
        if part.strip() and len(part) + len(word) > width:
            yield part
            part = indent + word.lstrip()
        else:
            part += word
    yield part


def joined(parts: Iterable[str], width: int | None, indent: int) -> Iterator[str]:
    """Yield lines of parts, two spaces apart and none of them broken."""
    line = ""
    for part in parts:
        if line and width is not None and len(line) + 2 + len(part) > width:
            yield line
            line = ""
        line = f"{line}  {part}" if line else " " * indent + part
    if line:
        yield line


def all_wrapped(lines: Iterable[str], width: int | None, hang: int = 2) -> Iterator[str]:
    """Yield lines, of which each may be several, wrapped as `wrapped` does."""
    for line in lines:
        for each in line.split("\n"):
            yield from wrapped(each, width, hang)
