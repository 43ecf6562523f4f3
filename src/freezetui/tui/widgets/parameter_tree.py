"""ParameterTree: shows the parameters as a tree and edits the plan; draws only the visible lines."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from freezetui.freeze.plan import FreezePlan
from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.tree_edits import EditRefused, TreeEdits
from freezetui.tui.widgets.tree_keys import TREE_KEYS
from freezetui.tui.widgets.tree_line import STYLES, Columns, TreeLine, line_of
from freezetui.tui.widgets.visible_rows import Span, VisibleRows


class ParameterTree(Guarded, ScrollView, can_focus=True):
    """The tree of parameters with a cursor; its keys move, fold and edit the plan.

    Args:
        plan: the plan to show and edit.
        rows: which lines are visible; folded and filtered here.

    Attributes:
        cursor: the line under the cursor, counted from 0.
        marks: per tensor, the result of the last check (`tree_line.MARKS`); empty for none.
    """

    DEFAULT_CSS = """
    ParameterTree {
        height: 1fr;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        overflow-x: hidden;
        & > .tree--plain { color: $foreground; }
        & > .tree--module { color: $foreground; text-style: bold; }
        & > .tree--dim { color: $text-muted; }
        & > .tree--tied { color: $text-accent; text-style: bold; }
        & > .tree--frozen { color: $text-primary; }
        & > .tree--trainable { color: $text-warning; }
        & > .tree--mixed { color: $foreground; }
        & > .tree--untrainable { color: $text-muted; }
        & > .tree--cursor { background: $panel-lighten-1; text-style: bold; }
        &:focus > .tree--cursor { background: $primary-muted; }
    }
    """

    COMPONENT_CLASSES = {f"tree--{name}" for name in STYLES}

    BINDINGS = TREE_KEYS

    cursor = reactive(0, repaint=False)
    marks = reactive(b"")

    class Moved(Message):
        """The cursor is on another line, or its line now shows something else."""

    class Edited(Message):
        """The plan has been edited."""

    def __init__(self, plan: FreezePlan, rows: VisibleRows, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plan, self.rows = plan, rows
        self.edits = TreeEdits(plan, rows)
        self.virtual_size = Size(0, len(rows))
        self._styles: dict[str, Style] = {}
        self._lines: dict[int, TreeLine] = {}

    @property
    def node(self) -> int:
        """The node under the cursor."""
        return self.rows.visible[self.cursor]

    def show_plan(self, plan: FreezePlan) -> None:
        """Show and edit another plan of the same model."""
        self.plan = self.edits.plan = plan
        self._redraw()
        self.post_message(self.Edited())

    def go_to(self, node: int) -> None:
        """Move the cursor to a node, expanding what hides it."""
        self._relay(self.rows.reveal(node))

    def show_only(self, spans: list[Span] | None, node: int) -> None:
        """Show only these tensors, with the cursor at `node`; None shows everything as before the filter."""
        self.rows.show_only(spans)
        hidden = self.rows.visible[self.rows.line_of(node)] != node
        self._relay(self.rows.reveal(node) if spans is None and hidden else self.rows.line_of(node))

    def _relay(self, line: int) -> None:
        """Show the lines as they are now, with the cursor on `line`."""
        self.virtual_size = Size(0, len(self.rows))
        self.cursor = line
        self._redraw()
        self.post_message(self.Moved())

    def _redraw(self) -> None:
        self._lines.clear()
        self.refresh()

    # Drawing

    def line(self, node: int) -> TreeLine:
        """Return what the line of `node` shows; kept until the next edit."""
        if node not in self._lines:
            self._lines[node] = line_of(node, self.rows, self.plan, self.marks)
        return self._lines[node]

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        styles = self._styles_now()
        base = styles["plain"]
        if number >= len(self.rows):
            return Strip.blank(width, base)
        if self.rows.matches == []:
            return Strip([Segment("   nothing matches", styles["dim"])]).adjust_cell_length(width, base)
        segments = self.line(self.rows.visible[number]).segments(Columns.fit(width), styles)
        if number == self.cursor:
            over = styles["cursor"]
            segments = [Segment(s.text, (s.style or base) + over) for s in segments]
            base += over
        return Strip(segments).adjust_cell_length(width, base)

    def _styles_now(self) -> dict[str, Style]:
        if not self._styles:
            for name in STYLES:
                partial = name == "cursor"  # drawn over the others
                self._styles[name] = self.get_component_rich_style(f"tree--{name}", partial=partial)
        return self._styles

    def notify_style_update(self) -> None:
        """Discard the cached styles: the theme or the focus has changed."""
        self._styles = {}
        super().notify_style_update()

    def validate_cursor(self, cursor: int) -> int:
        """Limit the cursor to the visible lines."""
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint both lines and scroll to the cursor."""
        self.refresh_line(old)
        self.refresh_line(new)
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if height and not top <= new < top + height:
            self.scroll_to(y=new if new < top else new - height + 1, animate=False)
        self.post_message(self.Moved())

    def watch_marks(self) -> None:
        """Redraw with the new marks."""
        self._redraw()

    def on_resize(self) -> None:
        """Scroll to the cursor."""
        self.call_after_refresh(self.watch_cursor, self.cursor, self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the click; toggle on the state, expand or collapse on the arrow."""
        if event.y + self.scroll_offset.y >= len(self.rows):
            return
        self.cursor = event.y + self.scroll_offset.y
        part = Columns.fit(self.scrollable_content_region.width).at(event.x, self.rows.tree.depths[self.node])
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

    # Editing

    def action_edit(self, name: str) -> None:
        """Run the edit of `TreeEdits` called `name` on the line under the cursor."""
        self._edit(lambda: self.edits.run(name, self.node))

    @work
    async def action_presets(self) -> None:
        """Choose a preset."""
        from freezetui.tui.screens.presets import PresetScreen  # the first screen needs none

        mask = await self.app.push_screen_wait(PresetScreen(self.rows.tree))
        if mask is not None:
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
        return self.edits.offers(action, self.node)

    def _edit(self, edit: Callable[[], str]) -> None:
        """Edit the plan, redraw, and show the edit's message."""
        try:
            message = edit()
        except EditRefused as refusal:
            message = str(refusal)
        else:
            self._redraw()
            self.post_message(self.Edited())
        if message:
            self.notify(message, timeout=3)
