"""ParameterTree: the parameters as a tree, drawn from flat arrays, visible lines only."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from freezetui.freeze.plan import FreezePlan
from freezetui.tui.widgets.tree_line import MARKS, Columns, TreeLine
from freezetui.tui.widgets.visible_rows import Span, VisibleRows


class ParameterTree(ScrollView, can_focus=True):
    """The tree of parameters with a cursor; folding is its own affair, choosing is the app's.

    Attributes:
        cursor: the line under the cursor, counted from 0.
        marks: per tensor, how the last sanity step saw it (`line.MARKS`); empty for none.
    """

    COMPONENT_CLASSES = {
        "tree--plain",
        "tree--module",
        "tree--dim",
        "tree--tied",
        "tree--frozen",
        "tree--trainable",
        "tree--mixed",
        "tree--untrainable",
        "tree--cursor",
    }

    BINDINGS = [
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="Move one line up"),
        Binding("down,j", "move(1)", "Down", show=False, tooltip="Move one line down"),
        Binding("right,l", "inward", "Open", show=False, tooltip="Open, or go to the first child"),
        Binding("left,h", "outward", "Close", show=False, tooltip="Close, or go to the parent"),
        Binding("enter", "switch", "Open/close", show=False, tooltip="Open or close"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="One page up"),
        Binding("pagedown", "page(1)", "Page down", show=False, tooltip="One page down"),
        Binding("home,g", "edge(-1)", "Top", show=False, tooltip="First line"),
        Binding("end,G", "edge(1)", "Bottom", show=False, tooltip="Last line"),
        Binding("e", "expand", "Expand", show=False, tooltip="Open this line"),
        Binding("E", "expand_all", "Expand all", show=False, tooltip="Open everything"),
        Binding("c", "collapse", "Collapse", show=False, tooltip="Close this line"),
        Binding("C", "collapse_all", "Collapse all", show=False, tooltip="Back to the first levels"),
        Binding("z", "fold", "Fold blocks", show=False, tooltip="Fold equal blocks into one line ×N"),
    ]

    cursor = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor stands on another line."""

    class Toggled(Message):
        """The person clicked on a line's state."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: VisibleRows | None = None
        self.plan: FreezePlan | None = None
        self.marks = b""
        self._styles: dict[str, Style] = {}
        self._lines: dict[int, TreeLine] = {}

    def show(self, rows: VisibleRows, plan: FreezePlan) -> None:
        """Show another tree."""
        self.rows, self.plan = rows, plan
        self.cursor = 0
        self.relaid()

    @property
    def node(self) -> int:
        """The node under the cursor."""
        return self.rows.visible[self.cursor] if self.rows else 0

    @property
    def spans(self) -> list[Span]:
        """The tensors that the line under the cursor stands for."""
        return self.rows.spans(self.node) if self.rows else []

    def go_to(self, node: int) -> None:
        """Put the cursor on a node, opening what hides it."""
        if self.rows:
            line = self.rows.reveal(node)
            self.relaid()
            self.cursor = line

    def stand_on(self, node: int) -> None:
        """Put the cursor on a node; a line that stands for it already stays folded."""
        if self.rows and self.rows.visible[self.rows.line_of(node)] != node:
            self.go_to(node)
        elif self.rows:
            self.relaid()
            self.cursor = self.rows.line_of(node)

    def relaid(self) -> None:
        """The lines have changed: measure and paint anew."""
        if self.rows:
            self.virtual_size = Size(0, len(self.rows))
            self.cursor = self.validate_cursor(self.cursor)
            self.edited()

    def edited(self) -> None:
        """The choice or the marks have changed: paint anew."""
        self._lines.clear()
        self.refresh()
        self.post_message(self.Moved())

    def line(self, node: int) -> TreeLine:
        """What the line of `node` shows; kept until the next edit."""
        if node not in self._lines:
            self._lines[node] = self._line(node)
        return self._lines[node]

    def _line(self, node: int) -> TreeLine:
        assert self.rows is not None and self.plan is not None
        tree = self.rows.tree
        spans = self.rows.spans(node)
        family = self.rows.family(node)
        tensor = tree.tensor(node) if family is None else None
        label = tree.names[node]
        if family is not None:
            label = f"{{{family.start}..{family.stop - 1}}} ×{len(family)}"
        arrow = "  " if tensor else "▾ " if self.rows.is_open(node) else "▸ "
        mark = max((max(self.marks[a:b], default=0) for a, b in spans), default=0)
        tied = tensor is not None and tree.first[node] in tree.tie_groups
        return TreeLine(
            label, tree.depths[node], arrow, self.plan.totals_over(spans), tensor, MARKS[mark], tied
        )

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        styles = self._styles_now()
        base = styles["plain"]
        if self.rows is None or number >= len(self.rows):
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
            for name in self.COMPONENT_CLASSES:
                key = name.removeprefix("tree--")
                partial = name == "tree--cursor"
                self._styles[key] = self.get_component_rich_style(name, partial=partial)
        return self._styles

    def notify_style_update(self) -> None:
        """The theme or the focus has changed."""
        self._styles = {}
        super().notify_style_update()

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor on a line."""
        return max(0, min(cursor, len(self.rows) - 1 if self.rows else 0))

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint the two lines and keep the cursor in sight."""
        self.refresh_line(old)
        self.refresh_line(new)
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if height and not top <= new < top + height:
            self.scroll_to(y=new if new < top else new - height + 1, animate=False)
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Lines are as wide as the widget."""
        if self.rows:
            self.virtual_size = Size(0, len(self.rows))
            self.call_after_refresh(self.watch_cursor, self.cursor, self.cursor)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the state it toggles, on the arrow it opens or closes."""
        if self.rows is None or event.y + self.scroll_offset.y >= len(self.rows):
            return
        self.cursor = event.y + self.scroll_offset.y
        columns = Columns.fit(self.scrollable_content_region.width)
        arrow = columns.state + min(2 * self.rows.tree.depths[self.node], columns.name // 2)
        if event.x < columns.state:
            self.post_message(self.Toggled())
        elif arrow <= event.x < arrow + 2 or event.chain == 2:
            self.action_switch()

    def action_move(self, by: int) -> None:
        """Move the cursor by lines."""
        self.cursor += by

    def action_page(self, by: int) -> None:
        """Move the cursor by pages."""
        self.cursor += by * max(1, self.scrollable_content_region.height - 1)

    def action_edge(self, direction: int) -> None:
        """Go to the first or the last line."""
        self.cursor = 0 if direction < 0 else len(self.rows or ()) - 1

    def action_inward(self) -> None:
        """Open the line, or go to its first child."""
        if self.rows and self.rows.is_open(self.node):
            self.cursor += 1
        else:
            self.action_expand()

    def action_outward(self) -> None:
        """Close the line, or go to its parent."""
        if self.rows is None:
            return
        if self.rows.is_open(self.node) and self.rows.matches is None and self.cursor:
            self.action_collapse()
        else:
            self.cursor = self.rows.line_of(max(0, self.rows.tree.parents[self.node]))

    def action_switch(self) -> None:
        """Open a closed line, close an open one."""
        if self.rows and self.rows.is_open(self.node):
            self.action_collapse()
        else:
            self.action_expand()

    def action_expand(self) -> None:
        """Open the line; a family of blocks unfolds."""
        if self.rows and self._may_fold():
            self.rows.open(self.cursor)
            self.relaid()

    def action_collapse(self) -> None:
        """Close the line, or fold its family of blocks."""
        if self.rows and self._may_fold():
            self.cursor = self.rows.close(self.cursor)
            self.relaid()

    def action_fold(self) -> None:
        """Fold the equal blocks around the line."""
        if self.rows and self._may_fold():
            self.cursor = self.rows.fold(self.cursor)
            self.relaid()

    def action_expand_all(self) -> None:
        """Open everything, the cursor staying on its node."""
        self._relay_around(VisibleRows.open_all)

    def action_collapse_all(self) -> None:
        """Close everything but the first levels."""
        self._relay_around(VisibleRows.close_all)

    def _may_fold(self) -> bool:
        """A filter shows what it matches, and nothing else opens or closes."""
        filtered = self.rows is not None and self.rows.matches is not None
        if filtered:
            self.notify("esc ends the filter; then lines open and close", timeout=3)
        return not filtered

    def _relay_around(self, relay: Callable[[VisibleRows], None]) -> None:
        if self.rows and self._may_fold():
            node = self.node
            relay(self.rows)
            self.relaid()
            self.cursor = self.rows.line_of(node)
