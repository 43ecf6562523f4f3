"""ChooseActions: presets, and the description of the live model that they go by."""

from __future__ import annotations

from time import monotonic

from textual import on, work

from freezetui.freeze.plan import FROZEN, FreezePlan, moved_mask
from freezetui.tui.actions.base import Actions
from freezetui.tui.describing import Described, layers_of
from freezetui.tui.widgets.parameter_tree import ParameterTree

#: Seconds until a description is offered again that something was in the way of.
_PAUSE = 0.3
#: Seconds without a key in the tree after which its lines may come into another order.
_CALM = 1.0
_ORDER = "The lines are now in the model's own order; the cursor is still on the same one"


class ChooseActions(Actions):
    """Takes in the description of the live model, and picks presets by it."""

    @on(Described)
    def take_in_description(self, wanted: bool = False) -> None:
        """Show the order, the ties and the classes of the live model, once nothing is in the way of it.

        Lines do not change places while keys are pressed: the next one could then hit another line.

        Args:
            wanted: whether the user waits for it.
        """
        arrived = self._describing.arrived
        if arrived is None:
            self.show_line()  # it may say why there is none
            return
        tree = self.tree_view
        is_calm = wanted or monotonic() - tree.touched > _CALM
        if not (is_calm and self.is_current) or self._panel.running or self.is_filtering:
            self.set_timer(_PAUSE, self.take_in_description)
            return
        self._describing.arrived = None
        before = self.session.plan
        if self.session.take_in(*arrived):
            tree.call_after_refresh(self._tell_what_changed, tree.shown_paths(), self._frozen_by_tie(before))
            tree.take_in(self.session.plan, tree.rows.moved_to(self.session.tree, self.session.plan.states))
        tree.show_layers(layers_of(arrived.description, self.session))
        self.refresh_session()

    def _frozen_by_tie(self, before: FreezePlan) -> str:
        """Return what trained, and is frozen now since it is tied to a frozen tensor; "" for nothing."""
        tree, plan = self.session.tree, self.session.plan
        trained = moved_mask(before.mask(), before.tree, tree)
        found = [i for i in tree.tie_groups if trained[i] and plan.states[i] == FROZEN]
        if not found:
            return ""
        other = next(tree.tensors[i].name for i in tree.tie_groups[found[0]] if not trained[i])
        more = f" and {len(found) - 1:,} more" if found[1:] else ""
        return f"{tree.tensors[found[0]].name}{more} frozen with {other}"

    def _tell_what_changed(self, before: list[str], tied: str) -> None:
        """Say what a tie has frozen, or that lines on the screen have changed their places."""
        if tied:
            self.notify(f"{tied}; they are one tensor in the model", timeout=15)
        elif self.tree_view.shown_paths() != before:
            self.notify(_ORDER, timeout=8)

    @on(ParameterTree.PresetsAsked)
    @work
    async def _presets(self) -> None:
        """Pick a preset; the model is described first, if a library builds it."""
        from freezetui.tui.screens.presets import PresetScreen  # the first screen needs none

        if self.session.structure is None and self.session.describable:
            problem = await self._describing.wait()
            if problem:
                self.notify(f"The presets go by names. {problem}", severity="warning")
            elif self._describing.arrived is None and self.session.structure is None:
                return  # the user gave up waiting
            self.take_in_description(wanted=True)
        mask = await self.app.push_screen_wait(PresetScreen(self.session.tree, self.session.structure))
        if mask is not None:
            self.tree_view.choose(mask)
