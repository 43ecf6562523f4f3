"""LoadingScreen: shown while a slow source is read."""

from __future__ import annotations

import asyncio

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from freezetui.session.loading import Opening
from freezetui.text import printable
from freezetui.tui.guarded import Guarded

#: Seconds between two updates of the progress.
_PERIOD = 0.1


class LoadingScreen(Guarded, Screen[None]):
    """Shows the progress of loading in place of the header.

    Args:
        opening: the session that is being opened.
    """

    DEFAULT_CSS = """
    LoadingScreen > Static {
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """

    class Done(Message):
        """Loading has ended, with a session or with an error."""

    def __init__(self, opening: Opening) -> None:
        super().__init__()
        self._opening = opening

    def compose(self) -> ComposeResult:
        """Compose one line of text."""
        yield Static(self._text(), markup=False)

    def on_mount(self) -> None:
        """Show the progress until loading ends."""
        self._follow()

    @work
    async def _follow(self) -> None:
        reading, shown = asyncio.wrap_future(self._opening), self._opening.progress
        while not (await asyncio.wait([reading], timeout=_PERIOD))[0]:
            if shown != self._opening.progress:
                shown = self._opening.progress
                self.query_one(Static).update(self._text(), layout=False)
        reading.exception()  # the app handles it; if never retrieved, asyncio would log it
        self.post_message(self.Done())

    def _text(self) -> Text:
        return Text.assemble(
            (" Loading…", "dim"), f"  {printable(self._opening.progress)}", ("  q quits", "dim")
        )
