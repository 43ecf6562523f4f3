"""The keys that choose what trains."""

from __future__ import annotations

from textual import on, work

from freezetui.freeze.blocks import in_every_block
from freezetui.plain import numbers
from freezetui.tui.face import FaceApp
from freezetui.tui.preset_screen import PresetScreen
from freezetui.tui.rows import Span
from freezetui.tui.tree_view import TreeView


class Choosing(FaceApp):
    """Actions on the line under the cursor and on the whole choice."""

    def action_toggle_line(self) -> None:
        """Space."""
        self.edit(self.tree_view.spans, None)

    def action_freeze(self) -> None:
        """Freeze the line."""
        self.edit(self.tree_view.spans, False)

    def action_train(self) -> None:
        """Train the line."""
        self.edit(self.tree_view.spans, True)

    def action_toggle_all(self) -> None:
        """Freeze everything, or train everything."""
        if self.session:
            self.edit([self.session.span], None)

    def action_invert(self) -> None:
        """Swap below the line."""
        if self.session and self.session.plan.invert(self.tree_view.spans):
            self.edited()

    def action_blocks(self) -> None:
        """The same for this name in every repeated block."""
        if self.session is None:
            return
        tree = self.session.tree
        nodes = in_every_block(tree, self.tree_view.node)
        if len(nodes) < 2:
            self.notify("there is no repeated block around this line", markup=False)
            return
        train = self.session.plan.totals_over(self.tree_view.spans).state != "trainable"
        what = f"{'trained' if train else 'frozen'} in {len(nodes)} blocks"
        self.edit([tree.span(node) for node in nodes], train, what)

    def action_freeze_before(self) -> None:
        """Freeze everything before the line."""
        if self.session:
            first = self.session.tree.first[self.tree_view.node]
            self.edit([(0, first)], False, "frozen before this line")

    @work
    async def action_presets(self) -> None:
        """Pick a preset."""
        if self.session is None:
            return
        trains = await self.push_screen_wait(PresetScreen(self.session.tree))
        if trains is not None:
            changed = self.session.plan.replace(trains)
            self.edited(f"preset: {numbers.plural(changed, 'tensor')} changed")

    def action_undo(self) -> None:
        """Take the last edit back."""
        if self.session:
            self._step_back(self.session.plan.undo(), "nothing to undo")

    def action_redo(self) -> None:
        """Do it again."""
        if self.session:
            self._step_back(self.session.plan.redo(), "nothing to redo")

    def _step_back(self, changed: Span | None, nothing: str) -> None:
        if changed is None:
            self.notify(nothing, timeout=2)
        else:
            self.edited()

    @on(TreeView.Toggled)
    def _clicked(self) -> None:
        self.action_toggle_line()
