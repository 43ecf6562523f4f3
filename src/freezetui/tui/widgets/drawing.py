"""Draws lines of text with less work than Textual's own way: no markup, no wrapping, no second cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from freezetui.tui.contrast import legible
from freezetui.tui.guarded import Guarded

if TYPE_CHECKING:
    from typing_extensions import Self


class Row(Guarded, Horizontal):
    """Widgets side by side that cover all of it: it has nothing to draw itself."""

    BLANK = True


class Column(Guarded, Vertical):
    """Widgets one below the other that cover all of it: it has nothing to draw itself."""

    BLANK = True


class Keeper(Guarded, Widget):
    """A widget that keeps what it has drawn until it is refreshed or the theme changes."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._kept: dict[Any, Any] = {}

    def refresh(self, *regions: Region, **options: bool) -> Self:
        """Draw everything again."""
        self._kept.clear()
        return super().refresh(*regions, **options)

    def notify_style_update(self) -> None:
        """Draw everything again: the theme has changed."""
        self._kept.clear()
        super().notify_style_update()


class TextBar(Keeper):
    """A few lines of text, drawn by `render`, that cannot be selected; what is too long is cut."""

    @property
    def base(self) -> Style:
        """The style of its text, readable in every theme."""
        return legible(self.visual_style.rich_style)

    def render(self) -> Text:
        """Return the lines."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """Draw one of the lines."""
        if self.size not in self._kept:
            self._kept = {self.size: list(self.render().split("\n", allow_blank=True))}
        lines = self._kept[self.size]
        return Strip(segments_of(self, lines[y])) if y < len(lines) else Strip([])


def whole_words(text: str, room: int) -> str:
    """Return as many words of a text as fit into `room` cells, with an ellipsis if these are not all."""
    if cell_len(text) <= room:
        return text
    kept = text
    while cell_len(kept) >= room and " " in kept.strip():
        kept = kept.rstrip().rpartition(" ")[0].rstrip(" ,;:")
    return f"{set_cell_size(kept, min(cell_len(kept), max(0, room - 1)))}…" if room > 0 else ""


def segments_of(widget: Widget, text: Text) -> list[Segment]:
    """Return one line of text as a widget draws it; what a click acts on looks like a link, as everywhere."""
    console = widget.app.console
    base = widget.visual_style.rich_style + console.get_style(text.style)
    segments = list(Segment.apply_style(text.render(console), base))
    if not any(style and style._meta and "@click" in style.meta for _, style, _ in segments):
        return segments
    link = widget.link_style
    return [
        Segment(text, style + link if style and "@click" in style.meta else style)
        for text, style, _ in segments
    ]


def finisher(widget: Widget, width: int) -> Callable[[list[Segment]], Strip]:
    """Return what makes of a line of a widget without border and padding what goes to the screen.

    Args:
        width: the widget's, in cells; a line is filled up or cut.
    """
    background, filters = widget.background_colors[1], widget.get_line_filters()
    blank = Style(bgcolor=background.rich_color)

    def finished(line: list[Segment]) -> Strip:
        line = Segment.adjust_line_length(line, width, blank)
        for each in filters:
            line = each.apply(line, background)
        return Strip(line, width)

    return finished
