"""AgainstBar: one line about the comparison with an earlier checkpoint."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from freezetui.text import printable
from freezetui.tui.against import Against
from freezetui.tui.widgets.drawing import TextBar


class AgainstBar(TextBar):
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
        """Draw the longest text that fits; if none does, the end of the shortest is cut."""
        line = Text.assemble((f" against {printable(self._against.source)}  ", "bold"))
        texts = [printable(text) for text in self._against.texts()]
        room = self.size.width - line.cell_len
        line.append(next((text for text in texts if cell_len(text) <= room), texts[-1]))
        line.truncate(self.size.width, overflow="ellipsis")
        return line
