"""CheckActions: starts checks, takes in their reports, sets the architecture that they build."""

from __future__ import annotations

import asyncio

from textual import on, work
from textual.widgets import OptionList

from freezetui.tui.actions.base import LOOK_DELAY, Actions, SessionScreen
from freezetui.tui.describing import layers_in_file
from freezetui.tui.widgets.check_panel import CheckPanel


class CheckActions(Actions):
    """Checks the plan: every stage in turn."""

    def start_reading_back(self) -> None:
        """Look for receipts of earlier checks, once the first screen is there."""
        self.set_timer(LOOK_DELAY, self._read_back)

    @work
    async def _read_back(self) -> None:
        """Show the checks of earlier sessions that are of exactly what is open, as of then."""
        from freezetui.session.read_back import plan_digest, read_back

        session = self.session
        for each in await asyncio.to_thread(read_back, session):
            stage = each.report.stage
            if not session.checks.has(stage) and each.plan == plan_digest(session, stage):
                mask = session.stages.plan_of(stage).mask()
                session.checks.store(each.report, mask, session.stages.settings, each.when)
                self.refresh_session()

    @on(CheckPanel.Ended)
    def _checked(self, event: CheckPanel.Ended) -> None:
        self.session.checked(event.report, event.job.mask, event.job.settings)
        self.refresh_session()

    @on(CheckPanel.Cancelled)
    def _tell_running(self) -> None:
        """Say whether a check is running, and name the key that starts or ends one."""
        self._totals.refresh()
        self._footer.refresh()

    @on(CheckPanel.Failed)
    def _check_failed(self, event: CheckPanel.Failed) -> None:
        self.session.checks.failure = f"{event.message} {event.hint}".strip()
        self.refresh_session()

    @on(SessionScreen.Changed)
    async def _show_proof(self) -> None:
        """Show the last check of the stage that is shown, where the panel is open."""
        if self._panel.display and not self._panel.running:
            from freezetui.tui.proof import proof_of  # the first screen needs none

            await self._panel.show(proof_of(self.session, self.size.width, brief=self.is_low))

    @on(OptionList.OptionHighlighted)
    def _name_keys(self) -> None:
        """Name the keys that do something on the line of the proof."""
        self._footer.refresh()

    @on(CheckPanel.JumpTo)
    def _jump(self, event: CheckPanel.JumpTo) -> None:
        node = self.session.tree.find(event.name)
        if node >= 0:
            self.tree_view.go_to(node)
            self.tree_view.focus()

    @on(CheckPanel.FixWanted)
    def _copy_fix(self, event: CheckPanel.FixWanted) -> None:
        from freezetui.tui.clipboard import send  # the first screen needs none

        send(self.app, event.code)  # the panel shows it

    @on(CheckPanel.ReceiptWanted)
    @work
    async def _save_receipt(self) -> None:
        from freezetui.tui.saving import save_receipt

        await save_receipt(self.app, self.session)

    @work
    async def action_check(self) -> None:
        """Run the check, of each stage in turn; ask first for what is missing, and for user code."""
        from freezetui.session.check_request import Job  # the first screen needs none of these
        from freezetui.tui.checking import may_check
        from freezetui.tui.saving import FINDING_RULES
        from freezetui.tui.screens.busy import run_with_busy_screen

        session, before = self.session, self.session.architecture
        if self._is_checking() or not await may_check(self.app, session):
            return
        if session.architecture is not before:
            self._model_named()
        masks, settings = session.stages.masks(), session.stages.settings
        tensors = len(session.tree.tensors)
        config = await run_with_busy_screen(self.app, FINDING_RULES, session.written, tensors)
        if config is not None:
            stages = session.stages.names or (None,)
            session.checks.failure = ""
            if self.is_low:
                self.hide_config()
            self.refresh_session()
            jobs = [Job(session.request(config, stage), masks[stage], settings) for stage in stages]
            await self._panel.start(jobs, session.options.timeout, session.options.python)
            self._tell_running()

    async def action_proof(self) -> None:
        """Open the panel of the check, or close it; a running check goes on."""
        if self._panel.display:
            self._panel.display = False
            self.tree_view.focus()
            return
        if self.is_low:
            self.hide_config()
        self._panel.display = True
        await self._show_proof()

    @work
    async def action_architecture(self) -> None:
        """Set the architecture."""
        from freezetui.tui.checking import ask_architecture

        if not self._is_checking() and await ask_architecture(self.app, self.session):
            self._model_named()

    def _is_checking(self) -> bool:
        if self._panel.running:
            self.notify("A check is already running (Esc to cancel)", timeout=3)
        return self._panel.running

    def _model_named(self) -> None:
        """Update the screen for a new architecture, which may have discarded the last report."""
        self._panel.failure = None
        if self.session.report is None:
            self._panel.cancel()
        if self.session.description is None:
            self.tree_view.show_layers(layers_in_file(self.session))
            self._describing.start()
        self.refresh_session()
