"""PromptScreen: asks for one line of text."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from freezetui.text import printable, printable_lines
from freezetui.tui.screens.dialog import Dialog

#: On a lower screen the field has no border, so that the text above it has room.
_MIN_HEIGHT = 20
#: Lines of a dialog around the text above the field: its border and title.
_AROUND = 3


class PromptScreen(Dialog[str | None]):
    """Asks for one line of text; the answer is None if the user cancels.

    A line that is longer than the field is shown whole below it. The field is on every screen.

    Args:
        refuse: returns what is wrong with a line, which is then shown and asked for again; "" if nothing is.
    """

    DEFAULT_CSS = """
    PromptScreen {
        & #prompt-whole { display: none; max-height: 4; color: $text-muted; }
        & Input.-textual-compact { background: $panel; margin-top: 0; }
    }
    """
    BINDINGS = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(
        self, title: str, body: str, value: str = "", refuse: Callable[[str], str] = lambda line: ""
    ) -> None:
        super().__init__()
        self._title, self._body = printable_lines(title), printable_lines(body)
        self._value, self._refuse = value, refuse

    def compose(self) -> ComposeResult:
        """Compose title, body and the input."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "Enter: accept, Esc: cancel"
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._body, id="prompt-body", markup=False)
            yield Input(printable(self._value), compact=self.app.size.height < _MIN_HEIGHT)
            yield Static(id="prompt-whole", markup=False)

    def on_mount(self) -> None:
        """Show the whole line, once it is known how wide the field is."""
        self.call_after_refresh(self._show_whole)

    def on_resize(self) -> None:
        """Show as much of the line as there is room for now."""
        self.call_after_refresh(self._show_whole)

    def on_input_changed(self) -> None:
        """Show the whole line."""
        self._show_whole()

    def _show_whole(self) -> None:
        """Show a line below the field that is longer than that; the text above takes what room is left."""
        field, whole = self.query_one(Input), self.query_one("#prompt-whole", Static)
        width = field.content_size.width
        whole.display = 0 < width <= cell_len(field.value)
        whole.update(field.value if whole.display else "")
        lines = min(4, -(-cell_len(field.value) // width)) if whole.display else 0
        limit = self.size.height * 95 // 100 - _AROUND - field.outer_size.height - field.styles.margin.height
        self.query_one("#prompt-body").styles.max_height = max(1, limit - lines)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with the line, unless it is refused (Enter)."""
        unchanged = event.value == printable(self._value)  # keeps characters that were escaped for display
        line = self._value if unchanged else event.value.strip()
        if wrong := self._refuse(line):
            self.query_one("#prompt-body", Static).update(Text(printable(wrong), "bold red"))
        else:
            self.dismiss(line)
