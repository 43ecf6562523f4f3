"""CopyActions: what goes from the screen to the clipboard."""

from __future__ import annotations

from textual import work

from freezetui.tui.actions.base import Actions


class CopyActions(Actions):
    """Copies the plan as code, script lines, names, patterns and fixes."""

    @work
    async def action_copy(self) -> None:
        """Copy the plan as plain PyTorch code, and show it and what else can be copied."""
        from freezetui.tui.copying import copy_texts  # the first screen needs none

        await copy_texts(self.app, self.session, self.tree_view.rows, self.tree_view.node)

    def action_copy_pattern(self) -> None:
        """Copy the pattern of the line under the cursor."""
        from freezetui.tui.copying import copy_pattern

        copy_pattern(self.app, self.tree_view.rows, self.tree_view.node)
