"""MainScreen: an open session; it composes the widgets and routes keys to the actions of each topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from freezetui.tui.actions.base import SessionScreen
from freezetui.tui.actions.check import CheckActions
from freezetui.tui.actions.choose import ChooseActions
from freezetui.tui.actions.copy import CopyActions
from freezetui.tui.actions.cost import CostActions
from freezetui.tui.actions.find import FindActions
from freezetui.tui.actions.look import LookActions
from freezetui.tui.actions.recover import RecoverActions
from freezetui.tui.actions.save import SaveActions
from freezetui.tui.actions.settings import SettingsActions
from freezetui.tui.actions.stage import StageActions
from freezetui.tui.problems import tell_problems
from freezetui.tui.screen_keys import SCREEN_KEYS
from freezetui.tui.widgets.column_header import ColumnHeader
from freezetui.tui.widgets.drawing import Column, Row

if TYPE_CHECKING:
    from freezetui.tui.host import Host


class MainScreen(
    ChooseActions,
    FindActions,
    LookActions,
    StageActions,
    CheckActions,
    CostActions,
    SaveActions,
    CopyActions,
    RecoverActions,
    SettingsActions,
    SessionScreen,
):
    """Choose what trains, check it, save it."""

    AUTO_FOCUS = "ParameterTree"
    #: Its widgets cover all of it.
    BLANK = True
    BINDINGS = SCREEN_KEYS

    def compose(self) -> ComposeResult:
        """Compose header, tree and details, check panel, filter, totals, keys."""
        yield self._header
        with Row(id="body"):
            with Column(id="main"):
                yield ColumnHeader(self.tree_view, id="heads")
                yield self.tree_view
            with Column(id="side"):
                yield self._details
        yield self._detail_line
        yield self._panel
        yield from self.make_against_bar()
        yield self._map
        yield self._totals
        yield self._footer

    def on_mount(self) -> None:
        """Show problems and warnings of the config and the checkpoint."""
        self.tree_view.step_stages = self.step_stages
        tell_problems(self, self.session)
        self._describing.start()
        self.start_recovery()
        self.start_reading_back()
        self.compare()

    def on_unmount(self) -> None:
        """End what runs for the session."""
        self.end()

    def on_key(self, event: events.Key) -> None:
        """Return the focus to the tree on a key that the focused widget does not handle."""
        elsewhere = self.focused is not self.tree_view and not isinstance(self.focused, Input)
        if elsewhere and event.key not in self.active_bindings:
            self.set_focus(self.tree_view)

    def on_descendant_focus(self) -> None:
        """Name the keys of what has the focus."""
        self._footer.refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the filter key while a filter is being typed: it is a letter then."""
        return action != "filter" or not isinstance(self.focused, Input)

    def offers(self, action: str) -> bool:
        """Whether an action has an effect now; used by the palette."""
        if action == "leave":
            return self.is_filtering or self._panel.display or self._against.running or self.shows_config
        if action.startswith("next_changed"):
            return self.session.comparison is not None
        if action.startswith("stage("):
            return bool(self.session.stages.names)
        if action == "key":
            return len(self.session.checkpoint.choices) > 1
        return self.check_action(action, ()) is True and not (
            self._panel.running and action in ("check", "architecture")
        )

    def action_leave(self) -> None:
        """Cancel a running check or comparison; else end the filter, the check panel or the config pane."""
        if self._against.running and not self._panel.running:
            self.end_looking()
            self.refresh_against()
        elif self.is_filtering and not self._panel.running:
            self._end_filter(self.tree_view.node)
        elif self.shows_config and not self._panel.display:
            self.hide_config()
        else:
            self._panel.cancel()
            self.tree_view.focus()

    def end(self) -> None:
        """End what runs for the session; it may be called again."""
        self.remember_view()
        self.end_recovery()
        self.end_looking()
        self.session.close()

    def stay(self) -> None:
        """Go on after `leave`: what is unsaved is kept again."""
        self._settled = False
        self.refresh_session()

    async def action_run_key(self, action: str) -> None:
        """Run the action of a key of the footer (a click)."""
        tree = ("edit", "next_match", "presets")
        await self.app.run_action(action, self.tree_view if action.startswith(tree) else self)

    def action_notices(self) -> None:
        """Show in full what the header is brief about."""
        from freezetui.tui.problems import notices_text
        from freezetui.tui.screens.text_viewer import TextViewer

        said = cast("Host", self.app).said
        self.app.push_screen(TextViewer("State", notices_text(self.session, tuple(said))))

    async def leave(self, then: str = "quit") -> bool:
        """Ask about unsaved changes, then end a running check; return whether to go. Only for a worker.

        Args:
            then: what comes after it, in words.
        """
        from freezetui.tui.saving import may_leave  # the first screen needs none

        if not await may_leave(self.app, self.session, then):
            return False
        self._panel.cancel()
        self._settled = True
        return True
