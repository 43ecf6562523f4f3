"""AgainstBar: one line about the comparison with an earlier checkpoint."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from freezetui.text import printable
from freezetui.tui.against import Against
from freezetui.tui.widgets.drawing import TextBar
from freezetui.tui.widgets.tree_line import end_of

#: Cells around the path; how many the path has at least.
_AROUND, _MIN_SOURCE = len(" against   "), 12


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
        """Draw the longest text that fits; a path gives way at its start before the shortest text is cut."""
        texts, width = [printable(text) for text in self._against.texts()], self.size.width
        least = min(map(cell_len, texts))
        source = end_of(self._against.source, max(_MIN_SOURCE, width - least - _AROUND))
        room = width - cell_len(source) - _AROUND
        text = next((text for text in texts if cell_len(text) <= room), texts[-1])
        line = Text.assemble((f" against {source}  ", "bold"), text)
        line.truncate(width, overflow="ellipsis")
        return line
