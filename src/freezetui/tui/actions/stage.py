"""StageActions: switches between the stages of the config, adds and changes them."""

from __future__ import annotations

from textual import work

from freezetui.text import listed
from freezetui.tui.actions.base import Actions

_COMMON = "common"


class StageActions(Actions):
    """Shows, adds and changes stages."""

    def action_stage(self, step: int) -> None:
        """Show another stage of the config, or the rules that all stages have in common."""
        stages = self.session.stages
        if not stages.names:
            self.notify("The config has no stages: + adds one", timeout=3)
            return
        if stages.next(step) is None:
            self.notify("What is chosen here applies to all stages; their own rules come after it", timeout=6)
        self.show_stage()

    def action_show_stage(self, number: int) -> None:
        """Show a stage by its number, 0 for the common rules (a click on its tab)."""
        every = (None, *self.session.stages.names)
        if number < len(every):
            self.session.stages.show(every[number])
            self.show_stage()

    @work
    async def action_add_stage(self) -> None:
        """Add a stage; the first one is what is chosen now."""
        from freezetui.tui.stages import ask_stage  # the first screen needs none

        if await ask_stage(self.app, self.session):
            self.show_stage()

    @work
    async def action_stages(self) -> None:
        """Rename, delete and order the stages; set their length and learning rate."""
        from freezetui.tui.stages import edit_stages

        await edit_stages(self.app, self.session, self.show_stage)
        self.show_stage()

    def step_stages(self, name: str, do: bool) -> bool:
        """Whether undo or redo is about the stages now, not about the shown plan; done if `do`.

        Where there is nothing to undo here, but in another stage, it is said where.
        """
        stages, redo = self.session.stages, name == "redo"
        every = (None, *stages.names)
        there = [stage for stage in every if stages.can_step(redo, stage)]
        if do and there and stages.shown not in there:
            where = listed([stage or _COMMON for stage in there])
            here = stages.shown or _COMMON
            self.notify(f"nothing to {name} in {here}, but in {where} ([ and ])", timeout=5)
            return True
        step = stages.next_redo if redo else stages.next_undo
        if step is not None and do:
            self.notify(f"{name}: {self.session.step_stages(redo)}", timeout=3)
            self.show_stage()
        return step is not None

    def show_stage(self) -> None:
        """Show the plan of the stage that is shown now, and its last check."""
        self.tree_view.show_plan(self.session.plan)
