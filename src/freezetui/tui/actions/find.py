"""FindActions: the filter above the totals, the tree that it limits, and the map of the model."""

from __future__ import annotations

from textual import on

from freezetui.tui.actions.base import Actions
from freezetui.tui.widgets.filter_bar import FilterBar
from freezetui.tui.widgets.model_map import ModelMap


class FindActions(Actions):
    """Starts and ends the filter, and shows in the tree what it finds and what the map points at."""

    #: Where the cursor was when the filter was started.
    _filtered_at = 0

    @on(ModelMap.Picked)
    def _go_to_place(self, event: ModelMap.Picked) -> None:
        """Move the cursor to the line that shows this node, as it is folded now."""
        self.tree_view.cursor = self.tree_view.rows.line_of(event.node)
        self.tree_view.focus()

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        self.tree_view.show_only(event.found.spans, self._filtered_at)

    @on(FilterBar.Apply)
    def _apply_to_matches(self, event: FilterBar.Apply) -> None:
        self.tree_view.set_matches(event.found.spans or [], event.trainable)

    @on(FilterBar.Done)
    def _filter_done(self, event: FilterBar.Done) -> None:
        if event.keep:
            self.tree_view.focus()
            self.tree_view.action_next_match(1)
        else:
            self._end_filter(self._filtered_at)

    def _end_filter(self, node: int) -> None:
        """Clear the filter and move the cursor to `node`."""
        self._filter.stop()
        self.tree_view.focus()
        self.tree_view.show_only(None, node)

    async def action_filter(self) -> None:
        """Start typing a filter."""
        if not self._filter.display:
            self._filtered_at = self.tree_view.node
        await self._filter.start()
