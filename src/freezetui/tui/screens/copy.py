"""CopyScreen: what can be taken along, one text at a time; what is shown has been copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from freezetui.text import printable_lines
from freezetui.tui.screens.text_viewer import TextViewer
from freezetui.tui.widgets.text_lines import TextLines

#: Lines that are shown; all are copied.
_MAX_SHOWN = 1_000


class Copyable(NamedTuple):
    """One text to copy.

    Attributes:
        label: for its tab; title: what it is.
    """

    label: str
    title: str
    text: str


class CopyScreen(TextViewer):
    """Shows texts as tabs; the one that is shown is copied, by OSC 52, and can be selected by hand.

    Args:
        texts: at least one; the first is shown first.
    """

    DEFAULT_CSS = """
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
        self._texts, self._place = texts, 0

    def compose(self) -> ComposeResult:
        """Compose the tabs above the text."""
        with VerticalScroll(classes="dialog -widest") as dialog:
            dialog.border_subtitle = "← →: what to copy, ↑ ↓: scroll, Esc: close"
            yield Static(id="copy-tabs", markup=False)
            yield TextLines(id="copy-text")

    def on_mount(self) -> None:
        """Copy and show the first text."""
        super().on_mount()
        self.action_other(0)

    def action_other(self, by: int) -> None:
        """Copy and show another text."""
        self._place = (self._place + by) % len(self._texts)
        shown = self._texts[self._place]
        self.app.copy_to_clipboard(shown.text)
        box = self.query_one(VerticalScroll)
        box.border_title = f"{shown.title}, copied to the clipboard if the terminal allows it"
        tabs = [(f" {each.label} ", "reverse bold" if each is shown else "dim") for each in self._texts]
        self.query_one("#copy-tabs", Static).update(Text.assemble(*tabs))
        lines = printable_lines(shown.text).splitlines()
        text = Text("\n".join(lines[:_MAX_SHOWN]))
        if len(lines) > _MAX_SHOWN:
            text.append(f"\n\n{len(lines) - _MAX_SHOWN:,} more lines are copied", "dim")
        self.query_one("#copy-text", TextLines).show(text, layout=True)
        box.scroll_home(animate=False)
