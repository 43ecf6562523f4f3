"""DetailLine: one line about the line under the cursor, where the details pane does not fit."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.reactive import reactive

from freezetui.tui.widgets.drawing import Bar


class DetailLine(Bar):
    """Describes the line under the cursor in one line, where the details pane does not fit."""

    DEFAULT_CSS = """
    DetailLine {
        height: 1;
        color: $text-muted;
    }
    """

    text = reactive(Text(), layout=False)

    def render(self) -> Text:
        """Draw `text`; if it is too long, truncate the name first."""
        line, width = self.text.copy(), self.size.width
        name = line.plain.find("  ", 1)
        rest = line[name:]
        if name > 0 and cell_len(line.plain) > width and cell_len(rest.plain) < width // 2:
            line = line[:name]
            line.truncate(width - cell_len(rest.plain), overflow="ellipsis")
            line.append_text(rest)
        line.truncate(width, overflow="ellipsis")
        return line
