"""ParameterTree: the tree whose keys move, fold and edit the plan."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.message import Message

from freezetui.freeze.plan import FreezePlan
from freezetui.tui.widgets.block_groups import Span
from freezetui.tui.widgets.tree_edits import ON_LINES, EditRefused, TreeEdits
from freezetui.tui.widgets.tree_keys import TREE_KEYS
from freezetui.tui.widgets.tree_line import Columns
from freezetui.tui.widgets.tree_view import TreeView, tell_nobody
from freezetui.tui.widgets.visible_rows import VisibleRows


class ParameterTree(TreeView):
    """The tree of parameters; its keys move, fold and edit the plan.

    Args:
        plan: the plan to show and edit.
        rows: which lines are visible; folded, sorted and filtered here.

    Attributes:
        edited: called when the plan has been edited, as `moved` is.
        step_stages: returns whether "undo" or "redo" is about the stages now, and does it if it is told to.
    """

    BINDINGS = TREE_KEYS

    class PresetsAsked(Message):
        """The user wants to pick a preset."""

    def __init__(self, plan: FreezePlan, rows: VisibleRows, id: str | None = None) -> None:
        super().__init__(plan, rows, id)
        self.edits = TreeEdits(plan, rows)
        self.edited: Callable[[], None] = tell_nobody
        self.step_stages: Callable[[str, bool], bool] = lambda name, do: False

    def show_plan(self, plan: FreezePlan) -> None:
        """Show and edit another plan of the same model."""
        self.painter.plan = self.edits.plan = plan
        self._follow()
        self.edited()

    def take_in(self, plan: FreezePlan, rows: VisibleRows) -> None:
        """Show and edit the same tensors in another order; the cursor keeps its node and its place."""
        self.edits = TreeEdits(plan, rows)
        super().take_in(plan, rows)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the click; toggle on the state, expand or collapse on the arrow."""
        if event.y + self.scroll_offset.y >= len(self.rows):
            return
        self.cursor = event.y + self.scroll_offset.y
        columns, depth = Columns.fit(self.scrollable_content_region.width), self.rows.tree.depths[self.node]
        part = columns.at(event.x, depth, self.painter.deepest)
        if part == "state":
            self.action_edit("toggle")
        elif part == "arrow" or event.chain == 2:
            self.action_switch()

    # Moving and folding

    def action_move(self, by: int) -> None:
        """Move the cursor by lines."""
        self.cursor += by

    def action_page(self, by: int) -> None:
        """Move the cursor by pages."""
        self.cursor += by * max(1, self.scrollable_content_region.height - 1)

    def action_edge(self, direction: int) -> None:
        """Go to the first or the last line."""
        self.cursor = 0 if direction < 0 else len(self.rows) - 1

    def action_inward(self) -> None:
        """Expand the line, or go to its first child."""
        if self.rows.is_open(self.node):
            self.cursor += 1
        else:
            self.action_expand()

    def action_outward(self) -> None:
        """Collapse the line, or go to its parent."""
        if self.rows.is_open(self.node) and self.rows.matches is None and self.cursor:
            self.action_collapse()
        else:
            self.cursor = self.rows.line_of(max(0, self.rows.tree.parents[self.node]))

    def action_switch(self) -> None:
        """Expand a collapsed line, collapse an expanded one."""
        self._fold(VisibleRows.close if self.rows.is_open(self.node) else VisibleRows.open)

    def action_expand(self) -> None:
        """Expand the line; a family of blocks unfolds."""
        self._fold(VisibleRows.open)

    def action_collapse(self) -> None:
        """Collapse the line, or fold its family of blocks."""
        self._fold(VisibleRows.close)

    def action_fold(self) -> None:
        """Fold the repeated blocks around the line."""
        self._fold(VisibleRows.fold)

    def action_expand_all(self) -> None:
        """Expand everything; the cursor stays on its node."""
        self._fold(VisibleRows.open_all)

    def action_collapse_all(self) -> None:
        """Collapse everything but the first levels."""
        self._fold(VisibleRows.close_all)

    def _fold(self, change: Callable[[VisibleRows, int], int]) -> None:
        """Expand or collapse: `change` takes the cursor's line and returns the cursor's new line."""
        if self.rows.matches is None:
            self._relay(change(self.rows, self.cursor))
        else:
            self.notify("Clear the filter (Esc) to expand or collapse lines", timeout=3)

    # The last column, sorting, ranges

    def action_measure(self) -> None:
        """Show the next measure in the last column."""
        names = [measure.name for measure in self._measures]
        place = names.index(self.painter.measure.name) if self.painter.measure.name in names else -1
        self._show_measure(self._measures[(place + 1) % len(names)])
        self.moved()

    def action_sort(self) -> None:
        """Sort by the last column, largest first; else put the lines back into the model's order.

        A range of lines ends: others would be between its ends.
        """
        self.selection.anchor = None
        self._keep_place(self.rows.sort(self._key if self.rows.key is None else None, self.node))
        self.moved()

    def action_range(self) -> None:
        """Begin a range of lines at the cursor; end it if there is one."""
        self.selection.anchor = self.node if self.selection.anchor is None else None
        self._redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Esc to the screen while no range is selected."""
        return action != "end_range" or self.selection.anchor is not None

    def action_end_range(self) -> None:
        """Select no lines."""
        self.action_range()

    # Editing

    def action_edit(self, name: str) -> None:
        """Run the edit of `TreeEdits` called `name` on the selected lines, else the line of the cursor."""
        if name in ("undo", "redo") and self.step_stages(name, True):
            return
        selected = self.selection.anchor is not None and name in ON_LINES
        spans = self.selection.spans(self.rows, self.cursor) if selected else None
        self._edit(lambda: self.edits.run(name, self.node, spans))

    def action_presets(self) -> None:
        """Ask for the presets, which need more than the tree."""
        self.post_message(self.PresetsAsked())

    def choose(self, mask: bytes) -> None:
        """Replace the plan, as a preset does."""
        self._edit(lambda: self.edits.replace(mask))

    def set_matches(self, spans: list[Span], trainable: bool) -> None:
        """Freeze or train what a filter matches."""
        self._edit(lambda: self.edits.set_matches(spans, trainable))

    def action_next_match(self, direction: int) -> None:
        """Go to the next or the previous match; wraps around."""
        try:
            self.go_to(self.edits.match_after(self.node, direction))
        except EditRefused as refusal:
            self.notify(str(refusal), timeout=3)

    def offers(self, action: str) -> bool:
        """Whether an action has an effect now; used by the palette."""
        name = action.removeprefix("edit('").removesuffix("')")
        steps = name in ("undo", "redo") and self.step_stages(name, False)
        if action == "end_range":
            return self.selection.anchor is not None
        return steps or self.edits.offers(action, self.node)

    def _edit(self, edit: Callable[[], str]) -> None:
        """Edit the plan, redraw, and show the edit's message."""
        try:
            message = edit()
        except EditRefused as refusal:
            message = str(refusal)
        else:
            self._follow()
            self.edited()
        if message:
            self.notify(message, timeout=3)
