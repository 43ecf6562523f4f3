"""The keys that choose what trains."""

from __future__ import annotations

from textual import on, work

from freezetui import numbers
from freezetui.freeze.blocks import in_every_block
from freezetui.tui.face import FaceApp
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.visible_rows import Span


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
        if self.session and self.rows:
            spans = self.rows.shown(*self.session.span)
            self.edit(spans, self.session.plan.totals_over(spans).state == "frozen")

    def action_invert(self) -> None:
        """Swap below the line."""
        if self.session is None:
            return
        if self.session.plan.invert(self.tree_view.spans):
            self.edited()
        else:
            self.edit(self.tree_view.spans, None)  # says why nothing can change

    def action_blocks(self) -> None:
        """This name in every repeated block as it is here; where it is so already, the other way."""
        if self.session is None:
            return
        tree = self.session.tree
        nodes = in_every_block(tree, self.tree_view.node)
        if len(nodes) < 2:
            self.notify("there is no repeated block around this line", markup=False)
            return
        spans, plan = [tree.span(node) for node in nodes], self.session.plan
        here, everywhere = plan.totals_over(self.tree_view.spans).state, plan.totals_over(spans).state
        alike = here == everywhere or here == "mixed"
        train = everywhere != "trainable" if alike else here == "trainable"
        what = f"{'trained' if train else 'frozen'} in {len(nodes)} blocks"
        self.edit(spans, train, what)

    def action_freeze_before(self) -> None:
        """Freeze everything before the line."""
        if self.session and self.rows:
            first = self.session.tree.first[self.tree_view.node]
            if first:
                self.edit(self.rows.shown(0, first), False, "frozen before this line")
            else:
                self.notify("nothing stands before this line", timeout=3)

    @work
    async def action_presets(self) -> None:
        """Pick a preset."""
        if self.session is None:
            return
        from freezetui.tui.screens.presets import PresetScreen  # the first screen needs none

        mask = await self.push_screen_wait(PresetScreen(self.session.tree))
        if mask is not None:
            changed = self.session.plan.replace(mask)
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

    @on(ParameterTree.Toggled)
    def _clicked(self) -> None:
        self.action_toggle_line()
