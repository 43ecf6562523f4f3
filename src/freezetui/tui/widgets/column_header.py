"""ColumnHeader: the names of the tree's columns."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.tree_line import Columns


class ColumnHeader(Guarded, Widget):
    """The names of the tree's columns."""

    DEFAULT_CSS = """
    ColumnHeader {
        height: 1;
        padding-right: 1;
        color: $text-muted;
    }
    """

    def render(self) -> Text:
        """Draw the names, aligned with the lines below."""
        return Text(Columns.fit(self.content_size.width).heading(), no_wrap=True)
