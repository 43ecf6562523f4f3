"""ColumnHeader: the names of the tree's columns."""

from __future__ import annotations

from rich.text import Text

from freezetui.tui.widgets.drawing import TextBar
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.tree_line import Columns


class ColumnHeader(TextBar):
    """The names of the tree's columns, how its lines are sorted, and how many are selected."""

    DEFAULT_CSS = """
    ColumnHeader {
        height: 1;
        padding-right: 1;
        color: $text-muted;
    }
    """

    def __init__(self, tree: ParameterTree, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tree = tree

    def on_mount(self) -> None:
        """Draw again when the tree shows something else."""
        self.watch(self._tree, "heading", self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Text:
        """Draw the names, aligned with the lines below."""
        heading = Columns.fit(self.content_size.width).heading(*self._tree.heading)
        return Text(heading, self.base, no_wrap=True)
