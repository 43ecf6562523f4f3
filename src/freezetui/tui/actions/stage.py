"""StageActions: switches between the stages of the config, and adds one."""

from __future__ import annotations

from textual import work

from freezetui.tui.actions.base import SessionScreen
from freezetui.tui.stages import ask_stage


class StageActions(SessionScreen):
    """Shows and adds stages."""

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
