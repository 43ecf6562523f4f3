"""CostActions: what the plan costs."""

from __future__ import annotations

from freezetui.tui.actions.base import Actions


class CostActions(Actions):
    """Shows what the plan costs in memory."""

    def action_cost(self) -> None:
        """Show the memory of this plan beside that of training everything."""
        from freezetui.tui.cost_text import cost_text  # the first screen needs none
        from freezetui.tui.screens.text_viewer import TextViewer

        self.app.push_screen(TextViewer("Cost", cost_text(self.session)))
