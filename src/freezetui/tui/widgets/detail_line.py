"""DetailLine: about the line under the cursor, in one line or two, where the details pane does not fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from rich.cells import cell_len, chop_cells
from rich.text import Text
from textual.reactive import reactive

from freezetui.tui.widgets.drawing import TextBar, whole_words
from freezetui.tui.widgets.tree_line import end_of


class DetailLine(TextBar):
    """Shows the full name of the line under the cursor, then as much as fits of what follows two spaces.

    Args:
        longest: returns the cells of the longest name, asked once this is shown: there may be 100,000. Where
            one line is too short for it, there are always two.
    """

    DEFAULT_CSS = """
    DetailLine {
        height: 1;
        color: $text-muted;
    }
    """

    text = reactive(Text(), layout=False)

    def __init__(self, longest: Callable[[], int], id: str | None = None) -> None:
        super().__init__(id=id)
        self._longest = cache(longest)

    def on_resize(self) -> None:
        """Take two lines where the longest name does not fit into one."""
        lines = 1 if self._longest() < self.size.width else 2
        if lines != self.size.height:  # most need no second layout
            self.styles.height = lines

    def render(self) -> Text:
        """Draw `text`; a name that is too long for all lines loses its start, what follows whole parts."""
        (width, height), line = self.size, self.text.copy()
        end = line.plain.find("  ", 1)
        name, rest = (line[:end], line[end:]) if end > 0 else (line, Text())
        if cell_len(name.plain) >= width * height:
            name = Text(f" {end_of(name.plain[1:], width * height - 2)}", "bold")
        rows = chop_cells(name.plain, max(1, width))
        lines = list(name.divide([len("".join(rows[:n])) for n in range(1, len(rows))]))
        if len(lines) < height and cell_len(lines[-1].plain + rest.plain) > width:
            lines.append(Text(whole_parts(rest.plain[1:], width)))
        else:
            lines[-1].append(whole_parts(rest.plain, width - cell_len(lines[-1].plain)))
        return Text("\n", no_wrap=True).join(lines)


def whole_parts(text: str, room: int) -> str:
    """Return as many parts of a text, which commas separate, as fit into `room` cells; else whole words."""
    kept = text
    while cell_len(kept) > room and ", " in kept:
        kept = kept.rpartition(", ")[0]
    return whole_words(kept, room)
