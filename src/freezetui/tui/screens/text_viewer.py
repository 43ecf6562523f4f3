"""TextViewer: shows text that may be longer than the screen."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from freezetui.tui.screens.dialog import Dialog
from freezetui.tui.widgets.text_lines import TextLines

#: Also the keys that open one, so that the same key closes it.
_CLOSE = "escape,q,enter,d,D,y,question_mark,exclamation_mark,dollar_sign"


class TextViewer(Dialog[None]):
    """Shows text that may be longer than the screen.

    Args:
        width: the CSS class of the box: "-wider" or "-widest".
    """

    BINDINGS = [
        Binding(_CLOSE, "dismiss", "Close", id="text.close"),
        Binding("j", "scroll(1)", show=False, id="text.down"),
        Binding("k", "scroll(-1)", show=False, id="text.up"),
        Binding("g", "edge(-1)", show=False, id="text.top"),
        Binding("G", "edge(1)", show=False, id="text.bottom"),
    ]

    def __init__(self, title: str, body: Text, width: str = "-wider") -> None:
        super().__init__()
        self._title, self._body, self._width = title, body, width

    def compose(self) -> ComposeResult:
        """Compose title and text in a scrolling box."""
        with VerticalScroll(classes=f"dialog {self._width}") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = "↑ ↓: scroll, Esc: close"
            yield TextLines(self._body)

    def on_mount(self) -> None:
        """Focus the box, so that the keys scroll it."""
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, by: int) -> None:
        """Move as in the tree."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_edge(self, direction: int) -> None:
        """Go to the start or to the end."""
        box = self.query_one(VerticalScroll)
        box.scroll_home(animate=False) if direction < 0 else box.scroll_end(animate=False)
