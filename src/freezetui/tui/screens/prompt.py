"""PromptScreen: asks for one line of text."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from freezetui.text import printable, printable_lines
from freezetui.tui.screens.dialog import Dialog


class PromptScreen(Dialog[str | None]):
    """Asks for one line of text; the answer is None if the user cancels.

    Args:
        refuse: returns what is wrong with a line, which is then shown and asked for again; "" if nothing is.
    """

    BINDINGS = [Binding("escape", "leave", "Back", id="dialog.back")]

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
            yield Input(printable(self._value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with the line, unless it is refused (Enter)."""
        unchanged = event.value == printable(self._value)  # keeps characters that were escaped for display
        line = self._value if unchanged else event.value.strip()
        if wrong := self._refuse(line):
            self.query_one("#prompt-body", Static).update(Text(printable(wrong), "bold red"))
        else:
            self.dismiss(line)

    def action_leave(self) -> None:
        """Go back (Esc)."""
        self.dismiss(None)
