"""LoadingScreen: what is shown while a slow source is read."""

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

#: Seconds between two looks at the progress.
_PERIOD = 0.1


class LoadingScreen(Guarded, Screen[None]):
    """Shows how far the reading is, where the header will be.

    Args:
        opening: the session that is being read.
    """

    DEFAULT_CSS = """
    LoadingScreen > Static {
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """

    class Done(Message):
        """The reading has ended, with a session or with an error."""

    def __init__(self, opening: Opening) -> None:
        super().__init__()
        self._opening = opening

    def compose(self) -> ComposeResult:
        """Compose one line."""
        yield Static(self._text(), markup=False)

    def on_mount(self) -> None:
        """Show the progress until there is none to come."""
        self._follow()

    @work
    async def _follow(self) -> None:
        reading, shown = asyncio.wrap_future(self._opening), self._opening.progress
        while not (await asyncio.wait([reading], timeout=_PERIOD))[0]:
            if shown != self._opening.progress:
                shown = self._opening.progress
                self.query_one(Static).update(self._text(), layout=False)
        reading.exception()  # the app asks again; unasked, asyncio would log it
        self.post_message(self.Done())

    def _text(self) -> Text:
        return Text.assemble(
            (" Loading…", "dim"), f"  {printable(self._opening.progress)}", ("  q quits", "dim")
        )
