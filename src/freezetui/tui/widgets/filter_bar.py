"""FilterBar: words or a pattern, with a live count of what it matches."""

from __future__ import annotations

from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from freezetui import numbers
from freezetui.freeze.tree import ParamTree
from freezetui.tui.search import Found, find
from freezetui.tui.widgets.filter_input import FilterInput


class FilterBar(Horizontal):
    """The line in which a filter is typed.

    Args:
        tree: is searched.
    """

    DEFAULT_CSS = """
    FilterBar {
        display: none;
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
        Binding("escape", "leave", "end", tooltip="End the filter", id="filter.end"),
        Binding("down", "done", show=False, id="filter.to-tree"),
    ]

    class Changed(Message):
        """The text matches something else now."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Done(Message):
        """The user goes back to the tree; `keep` keeps the filter."""

        def __init__(self, keep: bool) -> None:
            super().__init__()
            self.keep = keep

    class Apply(Message):
        """Freeze or train all that is found."""

        def __init__(self, found: Found, trainable: bool) -> None:
            super().__init__()
            self.found, self.trainable = found, trainable

    def __init__(self, tree: ParamTree, id: str | None = None) -> None:
        super().__init__(id=id)
        self._searched = tree

    def search_in(self, tree: ParamTree) -> None:
        """Search another tree from now on."""
        self._searched = tree

    async def start(self) -> None:
        """Show the bar and type into it."""
        if not self.children:  # made when it is first used: the tree is painted the sooner
            await self.mount(
                Static("/", id="filter-sign"),
                FilterInput(id="filter-input", compact=True),
                Static(id="filter-count", markup=False),
            )
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
        """Count while the user types."""
        event.stop()
        self._look(event.value)

    def _look(self, text: str) -> None:
        found = find(text, self._searched)
        said = numbers.plural(found.tensors, "match", "matches") + f" ({found.how})"
        self.query_one("#filter-count", Static).update(f"{said if found.is_counted else found.how} ")
        self.post_message(self.Changed(found))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter: enter."""
        event.stop()
        self.post_message(self.Done(keep=bool(event.value.strip())))

    def action_done(self) -> None:
        """Go to the tree and keep the filter: down."""
        self.post_message(self.Done(keep=bool(self.query_one(Input).value.strip())))

    def action_leave(self) -> None:
        """End the filter: escape."""
        self.post_message(self.Done(keep=False))

    def on_filter_input_all(self, event: FilterInput.All) -> None:
        """Freeze or train what the text matched."""
        event.stop()
        self.post_message(self.Apply(find(event.text, self._searched), event.trainable))
