"""AgainstBar: one line about the comparison with an earlier checkpoint."""

from __future__ import annotations

from rich.text import Text

from freezetui.text import printable
from freezetui.tui.against import Against
from freezetui.tui.widgets.drawing import Bar


class AgainstBar(Bar):
    """Shows how far the comparison is, then what changed and whether a frozen tensor did."""

    DEFAULT_CSS = """
    AgainstBar {
        height: 1;
        background: $panel;
    }
    """

    def __init__(self, against: Against, id: str | None = None) -> None:
        super().__init__(id=id)
        self._against = against

    def render(self) -> Text:
        """Draw the line; if it is too long, its end is cut."""
        line = Text.assemble((f" against {printable(self._against.source)}  ", "bold"))
        line.append(printable(self._against.text()))
        line.truncate(self.size.width, overflow="ellipsis")
        return line
