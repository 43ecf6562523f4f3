"""CopyScreen: texts to copy, as tabs; the one that is shown has been sent to the clipboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from freezetui.text import printable, printable_lines
from freezetui.tui.clipboard import SENT, in_the_way
from freezetui.tui.screens.text_viewer import TextViewer
from freezetui.tui.widgets.drawing import whole_words
from freezetui.tui.widgets.text_lines import TextLines

#: Lines that are shown; all are sent.
_MAX_SHOWN = 1_000
#: Cells of the box, and of its frame beside the title.
_WIDTH, _FRAME = 114, 6


class Copyable(NamedTuple):
    """One text to copy.

    Attributes:
        label: for its tab.
        title: what it is.
        text: or what makes it once it is asked for, and returns None if the user does not wait for it.
    """

    label: str
    title: str
    text: str | Callable[[], Awaitable[str | None]]


class CopyScreen(TextViewer):
    """Shows texts as tabs; sends the one that is shown to the clipboard, by OSC 52.

    Args:
        texts: at least one; the first is shown first.
    """

    DEFAULT_CSS = """
    CopyScreen > .dialog {
        height: 95%;
    }
    CopyScreen #copy-tabs {
        height: auto;
        margin-bottom: 1;
    }
    """

    BINDINGS = [
        Binding("right,l,tab", "other(1)", "Next", id="copy.next"),
        Binding("left,h,shift+tab", "other(-1)", "Previous", id="copy.previous"),
    ]

    def __init__(self, texts: Sequence[Copyable]) -> None:
        super().__init__(texts[0].title, Text(), "-widest")
        self._texts, self._place = list(texts), 0

    def compose(self) -> ComposeResult:
        """Compose the tabs above the text."""
        with VerticalScroll(classes="dialog -widest") as dialog:
            dialog.border_subtitle = "← →: what to copy, ↑ ↓: scroll, Esc: close"
            yield Static(id="copy-tabs", markup=False)
            yield TextLines(id="copy-text")

    def on_mount(self) -> None:
        """Send and show the first text."""
        super().on_mount()
        self.action_other(0)

    def action_other(self, by: int) -> None:
        """Send and show another text."""
        before, self._place = self._place, (self._place + by) % len(self._texts)
        text = self._texts[self._place].text
        if isinstance(text, str):
            self._show(text)
        else:
            self._make(text, before)

    @work
    async def _make(self, make: Callable[[], Awaitable[str | None]], before: int) -> None:
        """Send and show a text that is yet to be made; stay where it was `before` if the user cancels."""
        place, text = self._place, await make()
        if text is not None:
            self._texts[place] = self._texts[place]._replace(text=text)
        if place != self._place:
            return  # the user has moved on
        if text is not None:
            self._show(text)
        else:
            self._place = before

    def _show(self, text: str) -> None:
        """Send and show the text of the current place."""
        place, shown = self._place, self._texts[self._place]
        self.app.copy_to_clipboard(text)
        box = self.query_one(VerticalScroll)
        room = min(_WIDTH, int(0.95 * self.size.width)) - _FRAME
        title = printable(shown.title)
        full = f"{title}, {SENT}"
        box.border_title = full if cell_len(full) <= room else whole_words(f"{title}, sent", room)
        tabs = [
            (f" {each.label} ", "reverse bold" if number == place else "dim")
            for number, each in enumerate(self._texts)
        ]
        hint = (f"\n {needed}", "dim") if (needed := in_the_way()) else ""
        self.query_one("#copy-tabs", Static).update(Text.assemble(*tabs, hint))
        lines = printable_lines(text).splitlines()
        some = Text("\n".join(lines[:_MAX_SHOWN]))
        if len(lines) > _MAX_SHOWN:
            some.append(f"\n\n{len(lines) - _MAX_SHOWN:,} more lines are sent", "dim")
        self.query_one("#copy-text", TextLines).show(some, layout=True)
        box.scroll_home(animate=False)
