"""FilterBar: words or a pattern, with a live count of what it matches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from freezetui import numbers
from freezetui.freeze.plan import FreezePlan
from freezetui.session.loading import run_in_thread
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.guarded import Guarded
from freezetui.tui.search import Found, find, may_take_long, rules_to_freeze
from freezetui.tui.widgets.drawing import whole_words
from freezetui.tui.widgets.filter_input import FilterInput

#: Seconds before it is said that matching takes long.
_PATIENCE = 0.2
#: With more tensors, finding the rule that freezing would add takes longer than a key should: it is found
#: in a thread, which slows the keys down, so seconds after the last of them.
_MAX_INSTANT, _PAUSE = 1_000, 0.6
#: Characters of that rule.
_MAX_RULE = 40
#: The part of the bar that is not for the text of the filter, at most.
_MAX_SHARE = 0.75
#: Cells of the sign, and of the text of the filter at least; as in the CSS.
_SIGN, _MIN_INPUT = 3, 16


class _Asked(NamedTuple):
    """What is done with what a text matches, once that is known."""

    text: str
    then: Callable[[Found], object]
    only_shown: bool


class FilterBar(Guarded, Horizontal):
    """The line to type a filter into.

    Args:
        session: whose tensors to search, and whose plan the keys change.
        history: the filters that were applied, the last one at the end; those of this bar are added.
    """

    DEFAULT_CSS = """
    FilterBar {
        height: 1;
        background: $surface;
    }
    FilterBar > #filter-sign {
        width: 3;
        padding: 0 1;
        text-style: bold;
        color: $text-accent;
    }
    FilterBar > #filter-input {
        width: 1fr;
        min-width: 16;
    }
    FilterBar > #filter-count {
        width: auto;
        max-width: 75%;
        color: $text-muted;
    }
    """

    BINDINGS = [
        Binding("escape", "leave", "clear", tooltip="Clear the filter", id="filter.end"),
        Binding("down", "done", show=False, id="filter.to-tree"),
        Binding("up", "earlier", show=False, tooltip="The filter before", id="filter.earlier"),
    ]

    class Changed(Message):
        """The text now matches something else."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Done(Message):
        """The user goes back to the tree, keeping the filter if `keep`."""

        def __init__(self, keep: bool) -> None:
            super().__init__()
            self.keep = keep

    class Apply(Message):
        """Freeze or train all that is found."""

        def __init__(self, found: Found, trainable: bool) -> None:
            super().__init__()
            self.found, self.trainable = found, trainable

    def __init__(self, session: Session, history: list[str], id: str | None = None) -> None:
        super().__init__(id=id)
        self._session, self._history = session, history
        self._shown: Found | None = None
        self._text = ""
        self._waiting: list[_Asked] = []
        self._seeking: Future[str] | None = None

    def compose(self) -> ComposeResult:
        """Compose the sign, the text, and what is said about it."""
        yield Static("/", id="filter-sign")
        yield FilterInput(id="filter-input", compact=True)
        yield Static(id="filter-count", markup=False)

    def start(self) -> None:
        """Show the bar and focus it."""
        self.display = True
        self.screen.set_focus(self.query_one(Input))  # immediately: the next key is a letter of the filter
        self._look(self.query_one(Input).value)

    def stop(self) -> None:
        """Hide the bar and clear the text."""
        with self.prevent(Input.Changed):
            self.query_one(Input).value = self._text = ""
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Update the matches and their count."""
        event.stop()
        self._look(event.value)

    def _look(self, text: str) -> None:
        """Find what the text matches, unless another text replaces it before its turn comes."""
        self._text = text
        self._in_turn(text, lambda found: self._tell(text, found), only_shown=True)

    def _tell(self, text: str, found: Found) -> None:
        if text == self._text and self.display:
            self._shown = found
            self._say(_matches(found) if found.is_counted else found.how)
            self.tell_rule()
            self.post_message(self.Changed(found))

    def tell_rule(self) -> None:
        """Say which rule freezing the matches would add to the plan as it is now."""
        self.workers.cancel_group(self, "rule")
        if self.display and self._shown is not None and self._shown.tensors:
            self._tell_rule(self._shown)

    @work(group="rule", exclusive=True)
    async def _tell_rule(self, found: Found) -> None:
        look = partial(_freezing, found, self._session.plan)
        if len(self._session.tree.tensors) <= _MAX_INSTANT:
            freezing = look()
        else:
            await asyncio.sleep(_PAUSE)
            while self._seeking is not None and not self._seeking.done():
                await asyncio.sleep(_PATIENCE)  # one at a time
            promise: Future[str] = Future()
            self._seeking = promise
            run_in_thread(promise, look)
            freezing = await asyncio.wrap_future(promise)
        if found is self._shown and self.display:
            matches = _matches(found)
            self._say(f"{matches}, {freezing}", f"{matches.partition(' (')[0]}, {freezing}", matches)

    def _say(self, *choices: str) -> None:
        """Say the first of these that there is room for, else as many whole words of the last as fit."""
        width = self.size.width
        room = min(int(_MAX_SHARE * width), width - _SIGN - _MIN_INPUT) - 1
        texts = list(map(printable, choices))
        text = next((each for each in texts if cell_len(each) <= room), None) or whole_words(texts[-1], room)
        self.query_one("#filter-count", Static).update(f"{text} ")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the tree, keeping the filter (Enter)."""
        event.stop()
        self._finish()

    def action_done(self) -> None:
        """Go to the tree, keeping the filter (down)."""
        self._finish()

    def _finish(self) -> None:
        """Keep the filter once its matches are known."""
        text = self.query_one(Input).value
        if text.strip():
            self._history[:] = [*(each for each in self._history if each != text), text]
        self._in_turn(text, lambda found: self.post_message(self.Done(keep=bool(text.strip()))))

    def action_earlier(self) -> None:
        """Take the filter that was applied before the one that is shown."""
        text = self.query_one(Input).value
        place = self._history.index(text) if text in self._history else len(self._history)
        if place > 0:
            self.query_one(Input).value = self._history[place - 1]
            self.query_one(Input).cursor_position = len(self._history[place - 1])

    def action_leave(self) -> None:
        """Clear the filter (Esc)."""
        self.post_message(self.Done(keep=False))

    def on_filter_input_all(self, event: FilterInput.All) -> None:
        """Freeze or train what the text matches."""
        event.stop()
        self._in_turn(event.text, lambda found: self.post_message(self.Apply(found, event.trainable)))

    def _in_turn(self, text: str, then: Callable[[Found], object], only_shown: bool = False) -> None:
        """Call `then` with what `text` matches: immediately if that is quick, else from a thread.

        What is to be changed comes in the order in which it was asked for.

        Args:
            only_shown: whether it is of no use once another text has been typed.
        """
        if not may_take_long(text) and (only_shown or not self._waiting):
            then(find(text, self._session.tree))
            return
        self._waiting.append(_Asked(text, then, only_shown))
        self.set_timer(_PATIENCE, self._say_that_it_takes_long)
        if len(self._waiting) == 1:
            self._match()

    @work
    async def _match(self) -> None:
        """Find what is waited for, one after the other; the UI goes on meanwhile."""
        known, found = "", Found(None, "")
        try:
            while self._waiting:
                text, then, only_shown = self._waiting[0]
                if not only_shown or text == self._text:
                    if text != known:
                        promise: Future[Found] = Future()
                        run_in_thread(promise, partial(find, text, self._session.tree))
                        known, found = text, await asyncio.wrap_future(promise)
                    then(found)
                self._waiting.pop(0)
        finally:
            self._waiting.clear()

    def _say_that_it_takes_long(self) -> None:
        if self._waiting:
            self._say("matching…")


def _matches(found: Found) -> str:
    if found.instead:
        return f"0 matches; try {found.instead}"
    return numbers.plural(found.tensors, "match", "matches") + f" ({found.how})"


def _freezing(found: Found, plan: FreezePlan) -> str:
    """Return what ctrl+f would add to the config: the rule, where one says it, else how many tensors."""
    matched = plan.totals_over(found.spans or ())
    if matched.state == "untrainable":
        return "none trainable"
    rules = rules_to_freeze(found, plan)
    if rules is None or len(rules) > 1 or any(len(rule.pattern) > _MAX_RULE for rule in rules):
        return f"ctrl+f: freeze {numbers.plural(matched.trainable.tensors, 'tensor')}"
    if not rules:
        return "all frozen"
    pattern = rules[0].pattern
    return "ctrl+f: freeze these, and all is frozen" if pattern == "**" else f"ctrl+f: freeze {pattern}"
