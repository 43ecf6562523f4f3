"""CopyActions: what goes from the screen to the clipboard."""

from __future__ import annotations

from textual import work

from freezetui.tui.actions.base import SessionScreen


class CopyActions(SessionScreen):
    """Copies the plan as code, and the pattern of a line."""

    @work
    async def action_copy_code(self) -> None:
        """Copy the plan as plain PyTorch code, and show it."""
        from freezetui.tui.copying import copy_code  # the first screen needs none

        await copy_code(self.app, self.session)

    def action_copy_pattern(self) -> None:
        """Copy the pattern of the line under the cursor."""
        from freezetui.tui.copying import copy_pattern

        copy_pattern(self.app, self.tree_view.rows, self.tree_view.node)
