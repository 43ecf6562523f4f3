"""SessionScreen: the widgets around an open session, and how they are redrawn after a change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input

from freezetui.session.notices import notices
from freezetui.session.recent import View, note_opened, remembered
from freezetui.session.session import Session
from freezetui.tui.check_marks import marks_of
from freezetui.tui.columns import Measures
from freezetui.tui.describing import Describing, layers_in_file
from freezetui.tui.footer_keys import FooterKey, filter_keys, finding_keys, screen_keys, tree_keys
from freezetui.tui.guarded import Guarded
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.detail_line import DetailLine
from freezetui.tui.widgets.details import DetailsPane, one_line
from freezetui.tui.widgets.footer import KeyFooter
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.model_map import ModelMap
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.totals_bar import TotalsBar
from freezetui.tui.widgets.visible_rows import VisibleRows

if TYPE_CHECKING:
    from freezetui.tui.widgets.filter_bar import FilterBar

#: Seconds after the first screen until receipts and recovery files are looked for.
LOOK_DELAY = 0.3
#: Filters that are kept for the next time.
_MAX_FILTERS = 20
#: Cells by which the numbers of a group make a name longer.
_NUMBERS = 8
#: Lines of a screen that has room for more than one pane below the tree.
_MIN_HEIGHT = 20


class SessionScreen(Guarded, Screen[None]):
    """What the actions of every topic need: the session, the widgets, and redrawing.

    Args:
        session: the open session.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (78, "-narrow"), (110, "-wide"), (180, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (_MIN_HEIGHT, "-high")]

    class Changed(Message):
        """The plan, a stage, or what is saved has changed."""

    def __init__(self, session: Session) -> None:
        super().__init__(classes=self._size_classes())
        self.session = session
        session.stages.next(0)
        view, rows = remembered(session.options), VisibleRows(session.tree)
        if view.opened:
            rows.expand_only(view.opened)
            rows.unfold_only(view.unfolded, session.plan.states)
        self.tree_view = ParameterTree(session.plan, rows, id="tree")
        self._map, self._measures = ModelMap(self.tree_view, id="map"), Measures(session)
        self._header = Header(session, id="header")
        self._details = DetailsPane(id="details")
        self._detail_line = DetailLine(partial(_longest, session), id="detail-line")
        self._panel = CheckPanel(id="check")
        self._filter: FilterBar | None = None
        self._filters = list(view.filters)
        self._totals = TotalsBar(session, id="totals")
        self._totals.is_checking = lambda: self._panel.running
        self._footer = KeyFooter(self._footer_keys, self._map.legend, id="keys")
        self._describing = Describing(self, session)
        place = rows.line_of(max(0, session.tree.find(view.cursor)))
        self.tree_view.set_reactive(ParameterTree.cursor, place)

    def on_mount(self) -> None:
        """Follow the cursor and the edits from now on: all widgets are there."""
        self.tree_view.moved, self.tree_view.edited = self.show_line, self.refresh_session
        if layers := layers_in_file(self.session):
            self.tree_view.show_layers(layers)
        self.show_line()

    def _size_classes(self) -> str:
        """Return the classes of its breakpoints: set by Textual only after a first frame without them."""
        width, height = self.app.size
        reached = ((width, self.HORIZONTAL_BREAKPOINTS), (height, self.VERTICAL_BREAKPOINTS))
        return " ".join(max(each for each in points if each[0] <= size)[1] for size, points in reached)

    @property
    def is_low(self) -> bool:
        """Whether there is room for one pane below the tree only, and that in brief."""
        return self.size.height < _MIN_HEIGHT

    @property
    def is_filtering(self) -> bool:
        """Whether a filter is being typed, or limits the tree."""
        return self._filter is not None and self._filter.display

    @property
    def shows_config(self) -> bool:
        """Whether the pane with the text of the config is open."""
        return self.has_class("-config")

    def hide_config(self) -> None:
        """Close the pane with the text of the config, if it is open."""
        if self.shows_config:
            self.remove_class("-config")
            self.tree_view.focus()
            self.call_after_refresh(self.refresh_session)  # the details may be shown again

    def remember_view(self) -> None:
        """Keep how the checkpoint is looked at for the next time."""
        tree, filters = self.tree_view, self._filters[-_MAX_FILTERS:]
        opened, unfolded = tuple(tree.rows.expanded()), tuple(tree.rows.unfolded())
        cursor = tree.rows.tree.path(tree.node)
        note_opened(self.session.options, View(opened, unfolded, cursor, tuple(filters)))

    def show_line(self) -> None:
        """Describe the line under the cursor."""
        tree = self.tree_view
        if self._details.display:
            self._details.show(self.session, tree.rows, tree.node)
        self._footer.refresh()
        self._detail_line.text = one_line(self.session, tree.rows, tree.node)
        self._map.refresh()

    def refresh_session(self) -> None:
        """Redraw whatever depends on the plan, its config or its last check."""
        self.session.stages.follow_common()
        self.tree_view.marks = marks_of(self.session)
        self.tree_view.show_measures(self._measures.now())
        if self._filter is not None:
            self._filter.tell_rule()
        self._header.refresh()
        self._totals.refresh()
        self.show_line()
        self.post_message(self.Changed())

    def _footer_keys(self) -> Iterator[FooterKey]:
        """Yield the keys that do something now."""
        if isinstance(self.focused, Input):
            yield from filter_keys()
        elif self.focused is not None and self.focused.parent is self._panel and not self._panel.running:
            yield from finding_keys(self._panel.line)
        else:
            session, tree = self.session, self.tree_view
            yield from tree_keys(session, tree.node, tree.rows.matches is not None)
            yield from screen_keys(session, self._panel.running, any(True for _ in notices(session)))


# What MainScreen mixes in. At runtime it is not a screen: setting up a subclass of one takes Textual 0.5 ms.
if TYPE_CHECKING:
    Actions = SessionScreen
else:
    Actions = Guarded


def _longest(session: Session) -> int:
    """Return the cells of the longest name that a line of the tree can have, about."""
    return _NUMBERS + max(map(len, map(attrgetter("name"), session.tree.tensors)), default=0)
