"""TreeView: shows the parameters as a tree with a cursor; draws only the visible lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from rich.style import Style
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from freezetui import numbers
from freezetui.freeze.plan import FreezePlan
from freezetui.tui.columns import SHARE, SIZES, Measure
from freezetui.tui.contrast import legible
from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.block_groups import Span
from freezetui.tui.widgets.drawing import finisher
from freezetui.tui.widgets.line_range import LineRange
from freezetui.tui.widgets.row_values import values_of
from freezetui.tui.widgets.tree_line import STYLES, Columns, TreeLine
from freezetui.tui.widgets.tree_painter import TreePainter
from freezetui.tui.widgets.visible_rows import VisibleRows

#: More lines than any screen has; those that were scrolled away are not kept for long.
_MAX_DRAWN = 1_000
#: Lines of the screen that are not for the tree.
_AROUND = 8


class TreeView(Guarded, ScrollView, can_focus=True):
    """The tree of parameters with a cursor, a last column of values and, perhaps, a range of lines.

    Args:
        plan: the plan to show.
        rows: which lines are visible; sorted and filtered here.

    Attributes:
        cursor: the line under the cursor, counted from 0.
        marks: per tensor, the result of the last check (`tree_line.MARKS`); empty for none.
        heading: the name of the last column, short and long, what the column header says beside "name", and
            whether the classes of modules are known.
        selection: the lines that are selected together.
        painter: what draws the lines.
        moved: called when the cursor is on another line, or its line shows something else. A call and not a
            message, so that one frame shows all that a key changes.
        touched: when the cursor was last moved or a line changed, by the monotonic clock.
    """

    DEFAULT_CSS = """
    TreeView {
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
        & > .tree--proven { color: $text-success; text-style: bold; }
        & > .tree--unproven { color: $text-warning; text-style: bold; }
        & > .tree--wrong { color: $text-error; text-style: bold; }
        & > .tree--selected { background: $panel-lighten-1; }
        & > .tree--cursor { background: $panel-lighten-1; text-style: bold; }
        &:focus > .tree--cursor { background: $primary-muted; }
        &:nocolor > .tree--selected { text-style: reverse; }  /* as gray, few terminals show its background */
        &:nocolor:focus > .tree--cursor { text-style: bold reverse; }
    }
    """

    COMPONENT_CLASSES = {f"tree--{name}" for name in STYLES}

    cursor = reactive(0, repaint=False)
    marks = reactive(b"")
    heading = reactive((SHARE.heading, "", False), repaint=False)

    def __init__(self, plan: FreezePlan, rows: VisibleRows, id: str | None = None) -> None:
        super().__init__(id=id)
        rows.follow(plan.states)
        self.painter = TreePainter(plan, rows)
        self.selection = LineRange()
        self.moved: Callable[[], None] = tell_nobody
        self.touched = 0.0
        self.virtual_size = Size(0, len(rows))
        self._measures: Sequence[Measure] = SIZES
        self._styles: dict[str, dict[str, Style]] = {}
        self._drawn: dict[tuple[int, str, int, int], Strip] = {}

    @property
    def plan(self) -> FreezePlan:
        """The plan to show and edit."""
        return self.painter.plan

    @property
    def rows(self) -> VisibleRows:
        """Which lines are visible."""
        return self.painter.rows

    @property
    def node(self) -> int:
        """The node under the cursor."""
        return self.rows.visible[self.cursor]

    def on_mount(self) -> None:
        """Expand more levels where there is room for more lines."""
        height = self.app.size.height - _AROUND
        if height > self.rows.first_lines and not self.cursor:
            self.rows.first_lines = height
            self.rows.close_all(0)
            self.virtual_size = Size(0, len(self.rows))
            self._redraw()

    def shown_paths(self) -> list[str]:
        """Return the paths of the lines on the screen."""
        top = self.scroll_offset.y
        shown = self.rows.visible[top : top + self.scrollable_content_region.height]
        return [self.rows.tree.path(node) for node in shown]

    def go_to(self, node: int) -> None:
        """Move the cursor to a node, expanding what hides it."""
        self._relay(self.rows.reveal(node))

    def show_only(self, spans: list[Span] | None, node: int) -> None:
        """Show only these tensors, with the cursor at `node`; None shows everything as before the filter."""
        self.selection.anchor = None
        self.rows.show_only(spans)
        hidden = self.rows.visible[self.rows.line_of(node)] != node
        self._relay(self.rows.reveal(node) if spans is None and hidden else self.rows.line_of(node))

    def take_in(self, plan: FreezePlan, rows: VisibleRows) -> None:
        """Show the same tensors in another order; the cursor keeps its node and its place on the screen."""
        path, leaf = self.rows.tree.path(self.node), self.rows.tree.leaf[self.node]
        nodes = [n for n in rows.visible if rows.tree.leaf[n] == leaf and rows.tree.path(n) == path]
        is_sorted = self.rows.key is not None
        self.painter.plan, self.painter.rows = plan, rows
        self.selection.anchor = None
        self._keep_place(rows.sort(self._key if is_sorted else None, nodes[0] if nodes else 0))

    def show_layers(self, layers: Mapping[int, str]) -> None:
        """Show the classes of modules."""
        self.painter.layers = layers
        self._redraw()

    def show_measures(self, measures: Sequence[Measure]) -> None:
        """Offer what the last column can show; values that come for the first time are shown."""
        known = {measure.name: measure for measure in measures}
        changed = [name for name in known if name not in {measure.name for measure in self._measures}]
        self._measures = measures
        name = "change" if "change" in changed else self.painter.measure.name
        self._show_measure(known.get(name, SHARE))

    def _show_measure(self, measure: Measure) -> None:
        if measure is not self.painter.measure:
            self.painter.measure = measure
            if self.rows.key is not None:
                self.selection.anchor = None
                self._keep_place(self.rows.sort(self._key, self.node))
            self._redraw()

    def _key(self, lines: Sequence[int]) -> Sequence[float]:
        return values_of(self.painter.measure, self.rows, lines)

    def _follow(self) -> None:
        """Redraw for a plan that has changed: groups of blocks may have to be split."""
        lines = len(self.rows)
        line = self.rows.follow(self.plan.states, self.node)
        if len(self.rows) != lines:
            self._keep_place(line)
        self._redraw()

    def _keep_place(self, line: int) -> None:
        """Put the cursor on the line that it now is on, at the same place of the screen."""
        top = self.scroll_offset.y + line - self.cursor
        self.virtual_size = Size(0, len(self.rows))
        self.set_reactive(TreeView.cursor, line)
        self.scroll_to(y=max(0, top), animate=False, force=True)
        self._redraw()

    def _relay(self, line: int) -> None:
        """Show the lines as they are now, with the cursor on `line`."""
        self.virtual_size = Size(0, len(self.rows))
        self._redraw()
        if line == self.cursor:
            self.moved()
        self.cursor = line

    def _redraw(self) -> None:
        self.touched = monotonic()
        self._drawn.clear()
        self._tell()
        self.refresh()

    def _tell(self) -> None:
        """Say above the lines what the last column shows, how they are sorted, and which are selected."""
        measure, note = self.painter.measure, ""
        if self.selection.anchor is not None:
            lines = len(self.selection.lines(self.rows, self.cursor))
            note = f"{numbers.plural(lines, 'line')}, Esc ends"
        elif self.rows.key is not None:
            note = "M: model order"
        sign = " ▼" if self.rows.key is not None else ""
        short, long = measure.heading
        self.heading = ((f"{short}{sign}", f"{long}{sign}"), note, bool(self.painter.layers))

    # Drawing

    def line(self, node: int) -> TreeLine:
        """Return what the line of `node` shows."""
        return self.painter.line(node)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines of the screen; they are kept until something that they show has changed."""
        size, top, cursor = self.size, self.scroll_offset.y, self.cursor
        width = size.width - self.scrollbar_size_vertical
        selected = self.selection.lines(self.rows, cursor)
        if len(self._drawn) > _MAX_DRAWN:
            self._drawn.clear()
        finished, columns = finisher(self, size.width), Columns.fit(width)
        strips = []
        for number in range(top + crop.y, top + crop.bottom):
            over = "cursor" if number == cursor else "selected" if number in selected else ""
            key = number, over, width, size.width
            if key not in self._drawn:
                segments = self.painter.segments(number, columns, width, self.styles_over(over))
                self._drawn[key] = finished(segments)
            strips.append(self._drawn[key].crop(crop.x, crop.right))
        return strips

    def styles_over(self, over: str = "") -> dict[str, Style]:
        """Return the styles of `tree_line.STYLES` as they are drawn, readable in every theme.

        Args:
            over: what a line is drawn over: "cursor", "selected" or nothing.
        """
        if over not in self._styles:
            above = self.get_component_rich_style(f"tree--{over}", partial=True) if over else Style()
            self._styles[over] = _Styles(
                lambda name: legible(self.get_component_rich_style(f"tree--{name}") + above)
            )
        return self._styles[over]

    def notify_style_update(self) -> None:
        """Draw everything again: the theme or the focus has changed."""
        self._styles = {}
        self._drawn.clear()
        super().notify_style_update()

    def validate_cursor(self, cursor: int) -> int:
        """Limit the cursor to the visible lines."""
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Repaint both lines and scroll to the cursor."""
        self.touched = monotonic()
        if self.selection.anchor is None:
            self.refresh_line(old)
            self.refresh_line(new)
        else:
            self._tell()
            self.refresh()
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if height and not top <= new < top + height:
            self.scroll_to(y=new if new < top else new - height + 1, animate=False)
        self.moved()

    def watch_marks(self, marks: bytes) -> None:
        """Redraw with the new marks."""
        self.painter.marks = marks
        self._redraw()

    def on_resize(self) -> None:
        """Scroll to the cursor."""
        self.call_after_refresh(self.watch_cursor, self.cursor, self.cursor)


class _Styles(dict[str, Style]):
    """Styles by name, each made when it is first drawn: few of them are on the screen."""

    def __init__(self, make: Callable[[str], Style]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Style:
        style = self[name] = self._make(name)
        return style


def tell_nobody() -> None:
    """Stand for what is called on a change until someone wants to know of it."""
