"""The lines above and below the tree: what is open, the column heads, the totals."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.reactive import reactive

from freezetui import numbers
from freezetui.checkpoint.sources.urls import name_of
from freezetui.text import printable
from freezetui.tui.widgets.session_bar import SessionBar


class Header(SessionBar):
    """File, format and size; architecture; config and whether it is saved."""

    progress = reactive("")

    def render(self) -> Text:
        """The header; where it is narrow the config's name goes first, then the format, then the middle."""
        if self.session is None:
            return Text.assemble((" opening …", "dim"), f"  {self.progress}", ("  q quits", "dim"))
        middle, width = Text(self.session.architecture.label, "italic"), self.size.width
        choices = [(self._file(True), self._config(True)), (self._file(True), self._config(False))]
        choices.append((self._file(False), self._config(False)))
        for left, right in choices:
            if cell_len(left.plain) + cell_len(middle.plain) + cell_len(right.plain) + 6 <= width:
                return _three(left, middle, right, width)
        left, right = choices[1]
        return _three(left, Text(), right, width)

    def _file(self, described: bool) -> Text:
        """The file's name, and what it is if there is room."""
        assert self.session is not None
        checkpoint = self.session.checkpoint
        name = printable(name_of(self.session.options.source))
        if self.session.options.more:
            name += f" +{len(self.session.options.more)}"
        parts = [checkpoint.format, numbers.size(checkpoint.size)]
        if checkpoint.unwrapped:
            parts.append(printable(checkpoint.unwrapped))
        return Text.assemble((f" {name}", "bold"), (f"  {', '.join(parts)}" if described else "", "dim"))

    def _config(self, named: bool) -> Text:
        """Whether the choice is saved, and where if there is room."""
        assert self.session is not None
        name = printable(self.session.config_path.name) if named else ""
        if self.session.unsaved:
            return Text.assemble(("● unsaved ", "bold"), (f"{name} " if name else "", "dim"))
        if self.session.config is None:
            return Text("no config yet ", "dim")
        return Text.assemble(("saved ", "dim"), f"{name} " if name else "")


def _three(left: Text, middle: Text, right: Text, width: int) -> Text:
    """Left, middle and right in one line; the left is cut where there is no room."""
    room = width - cell_len(right.plain) - 2
    left.truncate(max(0, room), overflow="ellipsis")
    gap = room - cell_len(left.plain) - cell_len(middle.plain)
    before = gap // 2
    return Text.assemble(left, " " * (before + 1), middle, " " * (gap - before + 1), right, no_wrap=True)
