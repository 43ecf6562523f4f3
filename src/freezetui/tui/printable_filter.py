"""The last door before the terminal: what is drawn holds no character that a terminal would obey."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from freezetui.tui.units import JOINT


class PrintableFilter(LineFilter):
    """Replaces unprintable characters in a drawn line, as wide as they were, and the joints of `with_units`.

    Widgets show foreign text with such characters escaped; this is for what they miss.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line without unprintable characters."""
        if all(segment.text.isprintable() and JOINT not in segment.text for segment in segments):
            return segments
        return [Segment(_cleaned(segment.text), segment.style, segment.control) for segment in segments]


def _cleaned(text: str) -> str:
    return "".join(c if c.isprintable() else " " * cell_len(c) for c in text.replace(JOINT, " "))
