"""MainScreen: an open session; it composes the widgets and connects their messages."""

from __future__ import annotations

from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input

from freezetui.config.paths import typed_path
from freezetui.session.session import Session
from freezetui.tui.check_marks import marks_of
from freezetui.tui.checking import ask_architecture, may_check
from freezetui.tui.columns import Measures
from freezetui.tui.describing import Described, Describing, layers_of
from freezetui.tui.guarded import Guarded
from freezetui.tui.problems import tell_problems
from freezetui.tui.saving import FINDING_RULES, ask_path, may_quit, save_config, show_changes
from freezetui.tui.screen_keys import SCREEN_KEYS
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.stages import ask_stage
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.column_header import ColumnHeader
from freezetui.tui.widgets.detail_line import DetailLine
from freezetui.tui.widgets.details import DetailsPane, one_line
from freezetui.tui.widgets.filter_bar import FilterBar
from freezetui.tui.widgets.filter_input import FilterInput
from freezetui.tui.widgets.footer import KeyFooter
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.model_map import ModelMap
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.totals_bar import TotalsBar
from freezetui.tui.widgets.visible_rows import VisibleRows

#: Seconds until a description is offered again that something was in the way of.
_PAUSE = 0.3


class MainScreen(Guarded, Screen[None]):
    """Choose what trains, check it, save it.

    Args:
        session: the open session.
    """

    AUTO_FOCUS = "ParameterTree"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (78, "-slim"), (86, "-narrow"), (110, "-wide"), (180, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]
    BINDINGS = SCREEN_KEYS

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        session.stages.next(0)
        self.tree_view = ParameterTree(session.plan, VisibleRows(session.tree), id="tree")
        self._map, self._measures = ModelMap(self.tree_view, id="map"), Measures(session)
        self._header = Header(session, id="header")
        self._details, self._detail_line = DetailsPane(id="details"), DetailLine(id="detail-line")
        self._panel = CheckPanel(id="check")
        self._filter = FilterBar(session, id="filter")
        self._totals = TotalsBar(session, id="totals")
        self._describing = Describing(self, session)
        self._filtered_at = 0
        self._last_path = ""

    def compose(self) -> ComposeResult:
        """Compose header, tree and details, check panel, filter, totals, keys."""
        yield self._header
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield ColumnHeader(self.tree_view, id="heads")
                yield self.tree_view
            yield self._details
        yield self._detail_line
        yield self._panel
        yield self._filter
        yield self._map
        yield self._totals
        yield KeyFooter(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Show problems and warnings of the config and the checkpoint."""
        tell_problems(self, self.session)
        self._describing.start()

    def on_unmount(self) -> None:
        """End what runs for the session."""
        self.session.close()

    def on_key(self, event: events.Key) -> None:
        """Return the focus to the tree on a key that the focused widget does not handle."""
        elsewhere = self.focused is not self.tree_view and not isinstance(self.focused, Input)
        if elsewhere and event.key not in self.active_bindings:
            self.set_focus(self.tree_view)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the filter key while a filter is being typed: it is a letter then."""
        return action != "filter" or not isinstance(self.focused, FilterInput)

    def offers(self, action: str) -> bool:
        """Whether an action has an effect now; used by the palette."""
        if action == "leave":
            return self._filter.display or self._panel.display
        return self.check_action(action, ()) is True and not (
            self._panel.running and action in ("check", "architecture")
        )

    # Messages from the widgets

    @on(ParameterTree.Moved)
    def _show_line(self) -> None:
        """Describe the line under the cursor."""
        tree = self.tree_view
        if self._details.display:
            self._details.show(self.session, tree.rows, tree.node)
        self._detail_line.text = one_line(self.session, tree.rows, tree.node)
        self._map.refresh()

    @on(ParameterTree.Edited)
    def refresh_session(self) -> None:
        """Redraw whatever depends on the plan, its config or its last check."""
        self.tree_view.marks = marks_of(self.session)
        self.tree_view.show_measures(self._measures.now())
        self._panel.outdated = self.session.report_is_stale
        self._filter.tell_rule()
        self._header.refresh()
        self._totals.refresh()
        self._show_line()

    @on(Described)
    def take_in_description(self) -> None:
        """Show the order, the ties and the classes of the live model, once nothing is in the way of it."""
        arrived = self._describing.arrived
        if arrived is None:
            self._show_line()  # it may say why there is none
            return
        if not self.is_current or self._panel.running or self._filter.display:
            self.set_timer(_PAUSE, self.take_in_description)
            return
        self._describing.arrived = None
        if self.session.take_in(*arrived):
            rows = self.tree_view.rows.moved_to(self.session.tree, self.session.plan.states)
            self.tree_view.take_in(self.session.plan, rows)
            self._filter.search_in(self.session.tree)
        self.tree_view.show_layers(layers_of(arrived.description, self.session.tree))
        self.refresh_session()

    @on(ParameterTree.PresetsAsked)
    @work
    async def _presets(self) -> None:
        """Pick a preset; the model is described first, if a library builds it."""
        from freezetui.tui.screens.presets import PresetScreen  # the first screen needs none

        if self.session.structure is None and self.session.describable:
            problem = await self._describing.wait()
            if problem:
                self.notify(f"The presets go by names. {problem}", severity="warning")
            elif self._describing.arrived is None and self.session.structure is None:
                return  # the user gave up waiting
            self.take_in_description()
        mask = await self.app.push_screen_wait(PresetScreen(self.session.tree, self.session.structure))
        if mask is not None:
            self.tree_view.choose(mask)

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

    @on(CheckPanel.Ended)
    def _checked(self, event: CheckPanel.Ended) -> None:
        self.session.checked(event.report, event.mask)
        self.refresh_session()

    @on(CheckPanel.JumpTo)
    def _jump(self, event: CheckPanel.JumpTo) -> None:
        node = self.session.tree.find(event.name)
        if node >= 0:
            self.tree_view.go_to(node)
            self.tree_view.focus()

    # Actions

    async def action_filter(self) -> None:
        """Start typing a filter."""
        if not self._filter.display:
            self._filtered_at = self.tree_view.node
        await self._filter.start()

    def action_stage(self, step: int) -> None:
        """Show another stage of the config."""
        if self.session.stages.next(step) is None:
            self.notify("The config has no stages: + adds one", timeout=3)
        else:
            self.tree_view.show_plan(self.session.plan)

    @work
    async def action_add_stage(self) -> None:
        """Add a stage, with the plan of the common rules to begin with."""
        if await ask_stage(self.app, self.session.stages):
            self.tree_view.show_plan(self.session.plan)

    def action_leave(self) -> None:
        """Cancel a running check, else clear the filter, else close the check panel."""
        if self._filter.display and not self._panel.running:
            self._end_filter(self.tree_view.node)
        else:
            self._panel.cancel()
            self.tree_view.focus()

    @work
    async def action_check(self) -> None:
        """Run the check; ask first for what is missing and before running user code."""
        session, before = self.session, self.session.architecture
        if self._is_checking() or not await may_check(self.app, session):
            return
        if session.architecture is not before:
            self._model_named()
        mask, tensors = session.plan.mask(), len(session.tree.tensors)
        config = await run_with_busy_screen(self.app, FINDING_RULES, session.written, tensors)
        if config is not None:
            options = session.options
            await self._panel.start(session.request(config), mask, options.timeout, options.python)

    @work
    async def action_architecture(self) -> None:
        """Set the architecture."""
        if not self._is_checking() and await ask_architecture(self.app, self.session):
            self._model_named()

    def _is_checking(self) -> bool:
        if self._panel.running:
            self.notify("A check is already running (Esc to cancel)", timeout=3)
        return self._panel.running

    def _model_named(self) -> None:
        """Update the screen for a new architecture, which may have discarded the last report."""
        if self.session.report is None:
            self._panel.cancel()
        if self.session.description is None:
            self.tree_view.show_layers({})
            self._describing.start()
        self.refresh_session()

    @work
    async def action_save(self) -> None:
        """Save to the config's path: where it was loaded from, or beside the checkpoint."""
        await self._save()

    @work
    async def action_save_as(self) -> None:
        """Save under another name."""
        path = await ask_path(self.app, self._last_path or str(self.session.config_path))
        if path is not None:
            self._last_path = path
            await self._save(typed_path(path))

    async def _save(self, path: Path | None = None) -> None:
        if await save_config(self.app, self.session, path):
            self.refresh_session()

    @work
    async def action_changes(self) -> None:
        """Show the changes since the last save."""
        await show_changes(self.app, self.session)

    @work
    async def action_copy_code(self) -> None:
        """Copy the plan as plain PyTorch code, and show it."""
        from freezetui.tui.copying import copy_code  # the first screen needs none

        await copy_code(self.app, self.session)

    def action_copy_pattern(self) -> None:
        """Copy the pattern of the line under the cursor."""
        from freezetui.tui.copying import copy_pattern

        copy_pattern(self.app, self.tree_view.rows, self.tree_view.node)

    async def leave(self) -> bool:
        """Ask about unsaved changes, then end a running check; return whether to quit. Only for a worker."""
        if not await may_quit(self.app, self.session):
            return False
        self._panel.cancel()
        return True
