"""Draws dim text in a color that can be read, in place of whatever a terminal makes of it."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from freezetui.tui.contrast import muted_style


class DimFilter(LineFilter):
    """Replaces the attribute `dim` by a color between text and background, with enough contrast."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line without `dim`, where the colors are known."""
        if not any(segment.style is not None and segment.style.dim for segment in segments):
            return segments
        return [
            Segment(segment.text, _readable(segment.style, background), segment.control)
            if segment.style is not None and segment.style.dim
            else segment
            for segment in segments
        ]


@lru_cache(1024)
def _readable(style: Style, background: Color) -> Style:
    known = style if style.bgcolor is not None else style + Style(bgcolor=background.rich_color)
    return muted_style(known)
