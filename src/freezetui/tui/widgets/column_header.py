"""ColumnHeader: the names of the tree's columns."""

from __future__ import annotations

from rich.text import Text

from freezetui.tui.widgets.session_bar import SessionBar
from freezetui.tui.widgets.tree_line import Columns


class ColumnHeader(SessionBar):
    """The names of the tree's columns."""

    def render(self) -> Text:
        """The heads, fitted as the lines below are."""
        return Text(Columns.fit(self.content_size.width).heading(), no_wrap=True)
