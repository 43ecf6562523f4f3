"""Draws all text in a color that can be read, whatever widget it is of and whatever a theme makes of it."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from freezetui.tui.contrast import has_known_colors, legible, muted_style

#: More than lines, bars and frames, which are drawn as their theme has them.
_TEXT = re.compile(r"[^\s\u2500-\u259f]")


class ReadableFilter(LineFilter):
    """Gives text enough contrast, and dim text a color between text and background in place of `dim`.

    Where the terminal's own colors are used, nothing is known of them and nothing is changed.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line with styles that can be read."""
        return [
            segment
            if (style := segment.style) is None
            or (found := _readable(style, background)) is style
            or not (style.dim or _TEXT.search(segment.text))
            else Segment(segment.text, found, segment.control)
            for segment in segments
        ]


@lru_cache(1024)
def _readable(style: Style, background: Color) -> Style:
    known = style if style.bgcolor is not None else style + Style(bgcolor=background.rich_color)
    if not has_known_colors(known):
        return style
    found = muted_style(known) if style.dim else legible(known)
    return style if found is known else found
