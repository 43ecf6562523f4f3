"""CheckActions: starts checks, takes in their reports, sets the architecture that they build."""

from __future__ import annotations

from textual import on, work

from freezetui.tui.actions.base import SessionScreen
from freezetui.tui.checking import ask_architecture, may_check
from freezetui.tui.saving import FINDING_RULES
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.widgets.check_panel import CheckPanel


class CheckActions(SessionScreen):
    """Checks the plan."""

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
