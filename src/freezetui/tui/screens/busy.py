"""BusyScreen: what is shown while something takes long, and the way out of it."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import LoadingIndicator, Static

#: Seconds before anything is shown: most of what is waited for is done by then.
_PATIENCE = 0.2


class BusyScreen(ModalScreen[None]):
    """Keeps the keys away from what is being worked on; dismissed by whoever waits, or by the person."""

    BINDINGS = [Binding("escape", "leave", "Give up")]

    def __init__(self, what: str) -> None:
        super().__init__(classes="-early")
        self._what = what

    def compose(self) -> ComposeResult:
        """What is waited for, and that something is going on."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "esc gives up"
            yield Static(Text(self._what))
            yield LoadingIndicator()

    def on_mount(self) -> None:
        """Show it after a while."""
        self.set_timer(_PATIENCE, lambda: self.remove_class("-early"))

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)
