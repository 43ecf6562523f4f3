"""Header: what is open, and whether the plan is saved."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from freezetui import numbers
from freezetui.checkpoint.sources.urls import name_of
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.guarded import Guarded


class Header(Guarded, Widget):
    """Shows file, format and size; the stages, else the architecture; config and whether it is saved."""

    DEFAULT_CSS = """
    Header {
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """

    def __init__(self, session: Session, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session

    def render(self) -> Text:
        """Draw it; if it is too narrow, omit the config's name first, then the format, then the middle."""
        middle, width = self._middle(), self.size.width
        choices = [(self._file(True), self._config(True)), (self._file(True), self._config(False))]
        choices.append((self._file(False), self._config(False)))
        for left, right in choices:
            if cell_len(left.plain) + cell_len(middle.plain) + cell_len(right.plain) + 6 <= width:
                return _three(left, middle, right, width)
        left, right = choices[1]
        return _three(left, Text(), right, width)

    def _middle(self) -> Text:
        """Return the stages, the shown one marked; without stages, the architecture."""
        stages = self.session.stages
        if not stages.names:
            return Text(self.session.architecture.label, "italic")
        parts = [(f" {printable(n)} ", "reverse bold" if n == stages.shown else "dim") for n in stages.names]
        tabs = Text.assemble(*parts)
        if cell_len(tabs.plain) * 3 <= self.size.width:
            return tabs
        place = f" {stages.names.index(stages.shown or '') + 1}/{len(stages.names)} "
        return Text.assemble((f" {printable(stages.shown or '')} ", "reverse bold"), (place, "dim"))

    def _file(self, described: bool) -> Text:
        """Return the file's name, and its format and size if `described`."""
        checkpoint = self.session.checkpoint
        name = printable(name_of(self.session.options.source))
        if self.session.options.more:
            name += f" +{len(self.session.options.more)}"
        parts = [checkpoint.format, numbers.size(checkpoint.size)]
        if checkpoint.unwrapped:
            parts.append(printable(checkpoint.unwrapped))
        return Text.assemble((f" {name}", "bold"), (f"  {', '.join(parts)}" if described else "", "dim"))

    def _config(self, named: bool) -> Text:
        """Return whether the plan is saved, and where if `named`."""
        name = printable(self.session.config_path.name) if named else ""
        if self.session.unsaved:
            return Text.assemble(("● unsaved ", "bold"), (f"{name} " if name else "", "dim"))
        if self.session.config is None:
            return Text("no config yet ", "dim")
        return Text.assemble(("saved ", "dim"), f"{name} " if name else "")


def _three(left: Text, middle: Text, right: Text, width: int) -> Text:
    """Return left, middle and right in one line; the left is truncated if there is no room."""
    room = width - cell_len(right.plain) - 2
    left.truncate(max(0, room), overflow="ellipsis")
    gap = room - cell_len(left.plain) - cell_len(middle.plain)
    before = gap // 2
    return Text.assemble(left, " " * (before + 1), middle, " " * (gap - before + 1), right, no_wrap=True)
