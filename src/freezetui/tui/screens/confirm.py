"""ConfirmScreen: asks a question with a few answers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui.text import printable_lines
from freezetui.tui.bindings import SHOWN
from freezetui.tui.screens.dialog import Dialog
from freezetui.tui.widgets.readable_list import ReadableList


class ConfirmScreen(Dialog[str]):
    """Asks a question; the answer is the key of the chosen option, "" for none.

    Args:
        options: (key, what it does) pairs; pressing the key chooses the option directly.
    """

    BINDINGS = [Binding("escape", "dismiss('')", "Back", id="dialog.back")]

    def __init__(self, title: str, body: str, options: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._body, self._options = printable_lines(title), printable_lines(body), options

    def compose(self) -> ComposeResult:
        """Compose title, body and the options as a list."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._body, markup=False)
            yield ReadableList(
                *(
                    Option(Text.assemble((SHOWN.get(key, key), "bold"), f"  {what}"), id=key)
                    for key, what in self._options
                )
            )

    def on_key(self, event: events.Key) -> None:
        """Accept an option's own key as the answer."""
        if event.key in dict(self._options):
            event.stop()
            self.dismiss(event.key)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with the option chosen by Enter or a click."""
        self.dismiss(event.option_id or "")
