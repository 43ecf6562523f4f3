"""ConfigPane: the config as saving would write it, beside the tree."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from freezetui.text import printable_lines
from freezetui.tui.guarded import Guarded

#: Lines that are shown; `y` copies all.
_MAX_SHOWN = 1_000
#: How the line begins that the rules are below, in YAML and in JSON.
_START = ("rules", '  "rules')


class ConfigPane(Guarded, VerticalScroll, can_focus=True):
    """Shows the text of the config; lines that the last edit has changed are bold."""

    DEFAULT_CSS = """
    ConfigPane {
        height: 1fr;
        padding: 0 1;
        border-top: solid $panel-lighten-1;
        border-title-color: $text-accent;
        scrollbar-size-vertical: 1;
        &:focus { border-top: solid $primary; }
        & > Static { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    BINDINGS = [
        Binding("j", "scroll_down", show=False, id="config-pane.down"),
        Binding("k", "scroll_up", show=False, id="config-pane.up"),
        Binding("g", "scroll_home", show=False, id="config-pane.top"),
        Binding("G", "scroll_end", show=False, id="config-pane.bottom"),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[str] = []
        self._goal = 0

    def allow_focus(self) -> bool:
        """Leave Tab to the findings of a check where those are shown."""
        return not self.screen.query_one("#check").display

    def compose(self) -> ComposeResult:
        """Compose one block of text."""
        yield Static(id="config-text", markup=False)

    def wait(self) -> None:
        """Say that what is shown is about to change."""
        self.border_title = "simplifying the rules… (D: close)"

    def show(self, text: str) -> None:
        """Show `text`, scrolled to the first line that is new; at first to the rules."""
        self.border_title = "as it would be written (D: close)"
        lines = printable_lines(text).splitlines()
        before, first = set(self._lines or lines), -1
        if not self._lines:
            first = next((number for number, line in enumerate(lines) if line.startswith(_START)), -1)
        shown = Text()
        for number, line in enumerate(lines[:_MAX_SHOWN]):
            is_new = line not in before
            first = number if is_new and first < 0 else first
            shown.append(f"{line}\n", "bold reverse" if is_new else "")
        if len(lines) > _MAX_SHOWN:
            shown.append(f"{len(lines) - _MAX_SHOWN:,} more lines; y copies all", "dim")
        self._lines = lines
        shown.rstrip()
        self.query_one("#config-text", Static).update(shown)
        if first >= 0:
            self._goal = first
            self.call_after_refresh(self.watch_virtual_size)

    def watch_virtual_size(self) -> None:
        """Scroll to what is new, once there is room for it."""
        self.scroll_to(y=self._goal, animate=False)
