"""ProofList: the lines of a proof below its headline."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.geometry import Size

from freezetui.tui.units import with_units
from freezetui.tui.widgets.readable_list import ReadableList


class ProofList(ReadableList):
    """The lines of a proof: the highlighted one is wholly in view, and the last line is the end."""

    DEFAULT_CSS = """
    ProofList {
        height: auto;
        max-height: 10;
        border: none;
        padding: 0 1;
        background: $surface;
        &:focus { border: none; }
    }
    """

    def show(self, lines: Sequence[Text], highlighted: int) -> None:
        """List these lines with one of them highlighted; hide an empty list."""
        self.clear_options()
        self.add_options(map(with_units, lines))
        self.display = bool(lines)
        self.highlighted = highlighted if lines else None
        self.call_after_refresh(self.scroll_to_highlight)

    def action_cursor_down(self) -> None:
        """Go to the next line, if there is one."""
        if self.highlighted is None or self.highlighted + 1 < self.option_count:
            super().action_cursor_down()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the lines that it gets: no more than the panel has below its first lines."""
        height = super().get_content_height(container, viewport, width)
        line, headline = self.screen.query_one("#check-line"), self.screen.query_one("#check-headline")
        above = headline.get_content_height(container, viewport, container.width)
        limit = line.styles.max_height
        above = above if limit is None else min(above, int(limit.value))
        return min(height, max(1, container.height - above))

    def on_focus(self) -> None:
        """Show the highlighted line."""
        self.call_after_refresh(self.scroll_to_highlight)

    def on_resize(self) -> None:
        """Show the highlighted line."""
        self.call_after_refresh(self.scroll_to_highlight)
