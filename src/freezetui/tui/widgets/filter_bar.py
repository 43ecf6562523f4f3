"""The filter: words or a pattern, with a live count of what it matches."""

from __future__ import annotations

import re
from typing import NamedTuple

from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from freezetui import numbers
from freezetui.errors import PatternError
from freezetui.freeze.patterns import Pattern, runs
from freezetui.freeze.tree import ParamTree

_KINDS = ("words", "pattern")
_PATTERN_SIGNS = re.compile(r"[*{}\\]|^re:")


class Found(NamedTuple):
    """What a filter matches.

    Attributes:
        spans: the tensors, as ranges; None where the text is empty.
        how: "words", "pattern", or why the pattern cannot be read.
    """

    spans: list[tuple[int, int]] | None
    how: str

    @property
    def tensors(self) -> int:
        """How many tensors match."""
        return sum(stop - start for start, stop in self.spans or ())


def find(text: str, tree: ParamTree) -> Found:
    """Every word must occur in the name; text with `*`, `{` or `re:` is a pattern."""
    if not text.strip():
        return Found(None, "words, or a pattern such as **.bias")
    if _PATTERN_SIGNS.search(text):
        try:
            return Found(Pattern(text.strip()).spans(tree), "pattern")
        except PatternError as error:
            reason = error.message.removeprefix(f"pattern {text.strip()!r}").lstrip(" :")
            return Found([], reason[:1].upper() + reason[1:])
    words = text.lower().split()
    names = ((i, tensor.name.lower()) for i, tensor in enumerate(tree.tensors))
    return Found(runs(i for i, name in names if all(word in name for word in words)), "words")


def said_of(found: Found) -> str:
    """What the bar says of a filter: how much it matches, or what is wrong with it."""
    if found.spans is None or found.how not in _KINDS:
        return f"{found.how} "
    return f"{numbers.plural(found.tensors, 'match', 'matches')} ({found.how}) "


class FilterInput(Input):
    """The text of the filter.

    Its keys stand here, and not in the bar with priority: they must come after the letters typed before them.
    """

    BINDINGS = [
        Binding("ctrl+f", "all('freeze')", "freeze all", tooltip="Freeze all matches"),
        Binding("ctrl+t", "all('train')", "train all", tooltip="Train all matches"),
        Binding("enter", "submit", "keep", tooltip="Keep the filter and go to the tree"),
    ]

    class All(Message):
        """Freeze or train all that `text`, as it stood when the key was pressed, matches."""

        def __init__(self, text: str, action: str) -> None:
            super().__init__()
            self.text, self.action = text, action

    def action_all(self, action: str) -> None:
        """Freeze or train all matches."""
        self.post_message(self.All(self.value, action))

    async def action_submit(self) -> None:
        """Leave at once: the next key is no letter of the filter, however long counting takes."""
        self.screen.set_focus(None)
        await super().action_submit()


class FilterBar(Horizontal):
    """The line in which a filter is typed."""

    BINDINGS = [
        Binding("escape", "leave", "end", tooltip="End the filter"),
        Binding("down", "done", show=False),
    ]

    class Changed(Message):
        """The text matches something else now."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Done(Message):
        """The person goes back to the tree; `keep` keeps the filter."""

        def __init__(self, keep: bool) -> None:
            super().__init__()
            self.keep = keep

    class Apply(Message):
        """Freeze or train all that is found."""

        def __init__(self, found: Found, action: str) -> None:
            super().__init__()
            self.found, self.action = found, action

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tree: ParamTree | None = None

    async def start(self, tree: ParamTree) -> None:
        """Show the bar and type into it."""
        if not self.children:  # made when it is first used: the tree is painted the sooner
            await self.mount(
                Static("/", id="filter-sign"),
                FilterInput(id="filter-input", compact=True),
                Static(id="filter-count", markup=False),
            )
        self._tree = tree
        self.display = True
        self.screen.set_focus(self.query_one(Input))  # at once: the next key is a letter of the filter
        self._look(self.query_one(Input).value)

    def stop(self) -> None:
        """Hide the bar and forget the text."""
        if not self.children:
            return
        with self.prevent(Input.Changed):
            self.query_one(Input).value = ""
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Count live."""
        event.stop()
        self._look(event.value)

    def _look(self, text: str) -> None:
        if self._tree is None:
            return
        found = find(text, self._tree)
        self.query_one("#filter-count", Static).update(said_of(found))
        self.post_message(self.Changed(found))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps the filter."""
        event.stop()
        self.post_message(self.Done(keep=bool(event.value.strip())))

    def action_done(self) -> None:
        """Down goes to the tree, the filter stays."""
        self.post_message(self.Done(keep=bool(self.query_one(Input).value.strip())))

    def action_leave(self) -> None:
        """Escape ends the filter."""
        self.post_message(self.Done(keep=False))

    def on_filter_input_all(self, event: FilterInput.All) -> None:
        """Freeze or train what the text matched."""
        event.stop()
        if self._tree is not None:
            self.post_message(self.Apply(find(event.text, self._tree), event.action))
