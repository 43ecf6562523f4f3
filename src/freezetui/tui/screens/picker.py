"""PickerScreen: recent checkpoints, and those below the working directory; opens one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import NamedTuple

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from freezetui import numbers
from freezetui.checkpoint.sources.urls import is_url, shown_source
from freezetui.session.recent import Candidate, checkpoints_below, recent
from freezetui.text import printable
from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.readable_list import ReadableList

_RECENT, _BELOW = "recent", "below this directory"
#: Recent checkpoints that are listed while no filter is set, so that those below are on the screen too.
_MAX_RECENT, _MAX_RECENT_LOW, _MIN_HEIGHT = 8, 4, 20
_NOTHING = " No checkpoint was opened lately, and none was found below {}.  freezetui PATH opens one; q quits"
_KEYS = " ↑ ↓ choose  Enter open  / filter  q quit"
_FILTERING = " ↑ ↓ choose  Enter open  Esc end the filter"


class _Entry(NamedTuple):
    """One checkpoint of the list: its path or URL, what is known of it, and the heading that it is under."""

    source: str
    facts: str
    heading: str

    @property
    def place(self) -> str:
        """What is the same for two paths to one file."""
        return self.source if is_url(self.source) else os.path.realpath(self.source)

    @property
    def shown(self) -> str:
        """Its URL; its path from the working directory if it is below that, or else its whole path."""
        if is_url(self.source):
            return shown_source(self.source)
        below = f"{os.path.realpath('.').rstrip(os.sep)}{os.sep}"
        return printable(os.path.normpath(self.source.removeprefix(below)))


class PickerScreen(Guarded, Screen[None]):
    """Lists checkpoints to open; looks for them below a directory in a thread.

    Args:
        directory: where to look.
    """

    DEFAULT_CSS = """
    PickerScreen {
        & > #picker-title { height: auto; max-height: 50%; background: $panel; }
        & > #picker-keys { height: 1; background: $panel; }
        & > #picker-problem { height: auto; max-height: 4; color: $text-error; display: none; }
        & > #picker-filter { display: none; }
        & > OptionList { height: 1fr; background: $background; }
        & > OptionList, & > OptionList:focus { border: none; }
    }
    """
    AUTO_FOCUS = "OptionList"
    BINDINGS = [
        Binding("down", "cursor(1)", show=False, id="picker.down"),
        Binding("up", "cursor(-1)", show=False, id="picker.up"),
        Binding("slash", "filter", show=False, id="picker.filter"),
        Binding("escape", "leave", show=False, id="picker.leave"),
    ]

    class Chosen(Message):
        """The user wants to open a checkpoint."""

        def __init__(self, source: str) -> None:
            super().__init__()
            self.source = source

    def __init__(self, directory: str = ".") -> None:
        super().__init__()
        self._directory = directory
        self._below: list[_Entry] = []
        self._recent = [_Entry(each.source, f"opened {_age(each.when)}", _RECENT) for each in recent()]
        self._shown: list[_Entry] = []

    def compose(self) -> ComposeResult:
        """Compose a title, what could not be opened, the list, the filter, and the keys."""
        yield Static(Text(" Open a checkpoint", "bold"), id="picker-title")
        yield Static(id="picker-problem", markup=False)
        yield ReadableList()
        yield Input(placeholder="part of the path", compact=True, id="picker-filter")
        yield Static(_KEYS, id="picker-keys", markup=False)

    def on_mount(self) -> None:
        """Show what was opened lately, and look for what is here."""
        self._list()
        self._look()

    def tell(self, problem: str) -> None:
        """Say why what was chosen could not be opened; another one can be chosen."""
        self.query_one("#picker-problem", Static).update(f" {printable(problem)}")
        self.query_one("#picker-problem").display = True

    @work
    async def _look(self) -> None:
        keys, where = self.query_one("#picker-keys", Static), os.path.realpath(self._directory)
        keys.update(Text(f"{_KEYS}   looking below {shown_source(where)}…"))
        found = await asyncio.to_thread(checkpoints_below, self._directory)
        keys.update(Text(_FILTERING if self.query_one(Input).display else _KEYS))
        self._below = [_Entry(each.path, _facts(each), _BELOW) for each in found]
        self._list()
        if not self._below and not self._recent:
            self.query_one("#picker-title", Static).update(Text(_NOTHING.format(shown_source(where))))

    def _list(self) -> None:
        """List what the filter leaves; the highlighted one stays highlighted, else the first is."""
        options, before = self.query_one(OptionList), self._highlighted()
        words = self.query_one(Input).value.casefold().split()
        lately = self._recent if words else self._recent[: self._most]
        known = {entry.place for entry in lately}  # also of directories, whose files are one checkpoint
        below = (each for each in self._below if known.isdisjoint((each.place, str(Path(each.place).parent))))
        entries = [*lately, *below]
        self._shown = [e for e in entries if all(word in e.source.casefold() for word in words)]
        options.clear_options()
        heading, place = "", None
        for number, entry in enumerate(self._shown):
            if entry.heading != heading:
                heading = entry.heading
                options.add_option(Option(self._heading(heading), disabled=True))
            if place is None or (before is not None and entry.source == before.source):
                place = options.option_count
            text = Text.assemble(f"  {entry.shown}  ", (entry.facts, "dim"))
            options.add_option(Option(text, id=str(number)))
        if words and not self._shown:
            options.add_option(Option("  nothing matches", disabled=True))
        options.highlighted = place

    @property
    def _most(self) -> int:
        """How many recent checkpoints are listed while no filter is set."""
        return _MAX_RECENT_LOW if self.app.size.height < _MIN_HEIGHT else _MAX_RECENT

    def _heading(self, heading: str) -> Text:
        """Return a heading; that of the recent ones says how many only the filter finds."""
        hidden = len(self._recent) - self._most
        more = heading == _RECENT and hidden > 0 and not self.query_one(Input).value.strip()
        return Text.assemble((heading, "bold underline"), f"  (/ finds {hidden} more)" if more else "")

    def _highlighted(self) -> _Entry | None:
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return None
        return self._shown[int(options.get_option_at_index(options.highlighted).id or 0)]

    def on_input_changed(self, event: Input.Changed) -> None:
        """List what the filter leaves."""
        event.stop()
        self._list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open the highlighted checkpoint (Enter in the filter)."""
        event.stop()
        chosen = self._highlighted()
        if chosen is not None:
            self.post_message(self.Chosen(chosen.source))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show the heading above the first checkpoint too."""
        event.stop()
        if all(option.disabled for option in event.option_list.options[: event.option_index]):
            event.option_list.call_after_refresh(event.option_list.scroll_to, y=0, animate=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open the checkpoint chosen by Enter or a click."""
        event.stop()
        self.post_message(self.Chosen(self._shown[int(event.option_id or 0)].source))

    def action_cursor(self, by: int) -> None:
        """Move in the list while the filter has the focus."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    def action_filter(self) -> None:
        """Start typing a filter."""
        self._show_filter(True)

    def action_leave(self) -> None:
        """End the filter, else the program."""
        if self.query_one(Input).display:
            self.query_one(Input).value = ""
            self._show_filter(False)
        else:
            self.app.call_later(self.app.run_action, "quit")

    def _show_filter(self, shown: bool) -> None:
        field = self.query_one(Input)
        field.display = shown
        self.set_focus(field if shown else self.query_one(OptionList))
        self.query_one("#picker-keys", Static).update(Text(_FILTERING if shown else _KEYS))


def _facts(found: Candidate) -> str:
    return f"{numbers.size(found.bytes)}, written {_age(found.when)}"


def _age(when: float) -> str:
    """Return how long ago something was, roughly."""
    seconds = max(0.0, time.time() - when)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{numbers.plural(int(seconds // length), unit)} ago"
    return "now"
