"""FindActions: the filter above the totals, the tree that it limits, and the map of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from freezetui.tui.actions.base import Actions
from freezetui.tui.widgets.model_map import ModelMap

if TYPE_CHECKING:
    from freezetui.tui.widgets.filter_bar import FilterBar


class FindActions(Actions):
    """Starts and ends the filter, and shows in the tree what it finds and what the map points at."""

    #: Where the cursor was when the filter was started.
    _filtered_at = 0

    @on(ModelMap.Picked)
    def _go_to_place(self, event: ModelMap.Picked) -> None:
        """Move the cursor to the line that shows this node, as it is folded now."""
        self.tree_view.cursor = self.tree_view.rows.line_of(event.node)
        self.tree_view.focus()

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Show only what the filter finds."""
        self.tree_view.show_only(event.found.spans, self._filtered_at)

    def on_filter_bar_apply(self, event: FilterBar.Apply) -> None:
        """Freeze or train all that the filter finds."""
        self.tree_view.set_matches(event.found.spans or [], event.trainable)

    def on_filter_bar_done(self, event: FilterBar.Done) -> None:
        """Go to the first match, or end the filter."""
        if event.keep:
            self.tree_view.focus()
            self.tree_view.action_next_match(1)
        else:
            self._end_filter(self._filtered_at)

    def _end_filter(self, node: int) -> None:
        """Clear the filter and move the cursor to `node`."""
        if self._filter is not None:
            self._filter.stop()
        self.tree_view.focus()
        self.tree_view.show_only(None, node)

    async def action_filter(self) -> None:
        """Start typing a filter."""
        if not self.is_filtering:
            self._filtered_at = self.tree_view.node
        if self._filter is None:
            from freezetui.tui.widgets.filter_bar import FilterBar  # the first screen needs none

            self._filter = FilterBar(self.session, self._filters, id="filter")
            await self.mount(self._filter, after=self._panel)
        self._filter.start()
