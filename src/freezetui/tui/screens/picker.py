"""PickerScreen: recent checkpoints and those below the working directory; opens one."""

from __future__ import annotations

import asyncio
import os
import time

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui import numbers
from freezetui.checkpoint.sources.urls import shown_source
from freezetui.session.recent import Candidate, checkpoints_below, recent
from freezetui.tui.guarded import Guarded

_NOTHING = " No checkpoint was opened lately, and none was found below {}.  freezetui PATH opens one; q quits"
_KEYS = " ↑ ↓ choose  Enter open  q quit"


class PickerScreen(Guarded, Screen[None]):
    """Lists checkpoints to open; looks for them below a directory in a thread.

    Args:
        directory: where to look.
    """

    DEFAULT_CSS = """
    PickerScreen {
        & > #picker-title, & > #picker-keys { height: 1; background: $panel; }
        & > OptionList { height: 1fr; background: $background; }
        & > OptionList, & > OptionList:focus { border: none; }
    }
    """
    AUTO_FOCUS = "OptionList"
    BINDINGS = [
        Binding("j", "cursor(1)", show=False, id="picker.down"),
        Binding("k", "cursor(-1)", show=False, id="picker.up"),
        Binding("escape", "app.quit", show=False, id="picker.leave"),
    ]

    class Chosen(Message):
        """The user wants to open a checkpoint."""

        def __init__(self, source: str) -> None:
            super().__init__()
            self.source = source

    def __init__(self, directory: str = ".") -> None:
        super().__init__()
        self._directory = directory
        self._sources: list[str] = []

    def compose(self) -> ComposeResult:
        """Compose a title, the list, and the keys."""
        yield Static(Text(" Open a checkpoint", "bold"), id="picker-title")
        yield OptionList()
        yield Static(_KEYS, id="picker-keys", markup=False)

    def on_mount(self) -> None:
        """Show what was opened lately, and look for more."""
        options = self.query_one(OptionList)
        lately = recent()
        if lately:
            options.add_option(Option(Text("recent", "bold underline"), disabled=True))
        for each in lately:
            self._add(each.source, Text(_age(each.when), "dim"))
        self._look()

    @work
    async def _look(self) -> None:
        options, keys = self.query_one(OptionList), self.query_one("#picker-keys", Static)
        keys.update(Text(f"{_KEYS}   looking below {shown_source(os.path.realpath(self._directory))}…"))
        found = await asyncio.to_thread(checkpoints_below, self._directory)
        keys.update(Text(_KEYS))
        if found:
            options.add_option(Option(Text("below this directory", "bold underline"), disabled=True))
        for each in found:
            self._add(each.path, Text(_facts(each), "dim"))
        if not self._sources:
            where = shown_source(os.path.realpath(self._directory))
            self.query_one("#picker-title", Static).update(Text(_NOTHING.format(where)))

    def _add(self, source: str, facts: Text) -> None:
        """Add one line; the first one is highlighted."""
        options = self.query_one(OptionList)
        self._sources.append(source)
        name = Text(f"  {shown_source(os.path.normpath(source) if '://' not in source else source)}  ")
        options.add_option(Option(name.append_text(facts), id=str(len(self._sources) - 1)))
        if options.highlighted is None or len(self._sources) == 1:
            options.highlighted = options.option_count - 1

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open the checkpoint chosen by Enter or a click."""
        event.stop()
        self.post_message(self.Chosen(self._sources[int(event.option_id or 0)]))

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()


def _facts(found: Candidate) -> str:
    return f"{numbers.size(found.bytes)}, {_age(found.when)}"


def _age(when: float) -> str:
    """Return how long ago something was, roughly."""
    seconds = max(0.0, time.time() - when)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{numbers.plural(int(seconds // length), unit)} ago"
    return "now"
