"""The modal screens: a question, a line to fill in, a text to read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui.text import printable_lines

_SHOWN = {"escape": "esc"}


class ConfirmScreen(ModalScreen[str]):
    """Asks; the answer is the key of the option chosen, "" for none.

    Args:
        options: (key, what it does) pairs; the key also works pressed directly.
    """

    BINDINGS = [
        Binding("escape", "answer('')", "Back"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self, title: str, body: str, options: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._body, self._options = printable_lines(title), printable_lines(body), options

    def compose(self) -> ComposeResult:
        """Title, body and the options as a list."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._body, markup=False)
            yield OptionList(
                *(
                    Option(Text.assemble((_SHOWN.get(key, key), "bold"), f"  {what}"), id=key)
                    for key, what in self._options
                )
            )

    def on_mount(self) -> None:
        """Let the options' keys answer directly."""
        for key, what in self._options:
            self._bindings.bind(key, f"answer('{key}')", what)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on an option."""
        self.dismiss(event.option_id or "")

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    def action_answer(self, answer: str) -> None:
        """Close with this answer."""
        self.dismiss(answer)
