"""The keys that find tensors, and act on all that is found."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from textual import events, on
from textual.screen import ModalScreen

from freezetui.session.session import Options
from freezetui.tui.choosing import Choosing
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.filter_bar import FilterBar, FilterInput
from freezetui.tui.widgets.visible_rows import Span


class Finding(Choosing):
    """The filter and its matches."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._matches: Sequence[Span] = ()
        self._home = 0

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing here: the one that starts the filter, while it is typed; the palette's."""
        if action == "filter":
            return not isinstance(self.focused, FilterInput)
        # What the palette offers acts on the tree, which a dialog hides.
        return not (action == "command_palette" and isinstance(self.screen, ModalScreen))

    def on_key(self, event: events.Key) -> None:
        """A letter typed right behind the / went to the tree still, and comes here; it is the filter's."""
        if isinstance(self.focused, FilterInput) and event.is_printable and event.character:
            self.focused.insert_text_at_cursor(event.character)
            event.prevent_default().stop()

    async def action_filter(self) -> None:
        """Type a filter."""
        if self.session:
            if not self.query_one(FilterBar).display:
                self._home = self.tree_view.node
            await self.query_one(FilterBar).start(self.session.tree)

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        if self.rows is None:
            return
        self._matches = event.found.spans or []
        self.rows.show_only(event.found.spans)
        self.tree_view.relaid()
        self.tree_view.cursor = self.rows.line_of(self._home)

    @on(FilterBar.Done)
    def _filter_done(self, event: FilterBar.Done) -> None:
        if event.keep:
            self.tree_view.focus()
            self.action_next_match(1)
        else:
            self._end_filter(self._home)

    def _end_filter(self, node: int) -> None:
        """Forget the filter; the cursor goes to `node`."""
        self.query_one(FilterBar).stop()
        self.tree_view.focus()
        self._matches = ()
        if self.rows:
            self.rows.show_only(None)
            self.tree_view.stand_on(node)

    @on(FilterBar.Apply)
    def _apply_to_matches(self, event: FilterBar.Apply) -> None:
        self._matches = event.found.spans or []
        self._on_matches(event.action == "train")

    def action_freeze_matches(self) -> None:
        """Freeze all matches."""
        self._on_matches(False)

    def action_train_matches(self) -> None:
        """Train all matches."""
        self._on_matches(True)

    def _on_matches(self, train: bool) -> None:
        if self._matches:
            self.edit(self._matches, train, "trained" if train else "frozen")
        else:
            self._say_no_match()

    def action_next_match(self, direction: int) -> None:
        """Go to the next or the previous match, around the end."""
        if self.session is None or not self._matches:
            self._say_no_match()
            return
        tree = self.session.tree
        at = tree.first[self.tree_view.node]
        on_match = bool(tree.leaf[self.tree_view.node])
        self.tree_view.go_to(tree.position[neighbour(self._matches, at, direction, on_match)])

    def _say_no_match(self) -> None:
        typing = self.query_one(FilterBar).display
        self.notify("the filter matches nothing" if typing else "no filter yet: press /", timeout=3)

    def action_leave(self) -> None:
        """Escape: cancel a running check, else end the filter, else close the check."""
        panel = self.query_one(CheckPanel)
        if self.query_one(FilterBar).display and not panel.running:
            self._end_filter(self.tree_view.node)
        else:
            panel.cancel()
            self.tree_view.focus()


def neighbour(matches: Sequence[Span], at: int, direction: int, on_match: bool) -> int:
    """The match after (1) or before (-1) tensor `at`, around the ends.

    Args:
        matches: ascending, disjoint, not empty.
        on_match: whether `at` itself is where one stands, so that it does not count.
    """
    if direction > 0:
        least = at + on_match
        later = (max(start, least) for start, stop in matches if stop > least)
        return next(later, matches[0][0])
    before = bisect_right(matches, (at, 0)) - 1
    if before >= 0 and matches[before][0] < at:
        return min(matches[before][1] - 1, at - 1)
    return matches[before - 1][1] - 1 if before > 0 else matches[-1][1] - 1
