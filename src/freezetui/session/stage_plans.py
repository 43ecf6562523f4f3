"""StagePlans: the plan of the common rules and one for each stage; one of them is shown and edited."""

from __future__ import annotations

from collections.abc import Mapping

from freezetui.config.schema import no_such_stage
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.freeze.rules import Action, Rule
from freezetui.freeze.tree import ParamTree

#: Per stage, 1 to train and 0 to freeze for each tensor; None stands for the common rules.
Masks = Mapping[str | None, bytes]


class StagePlans:
    """The plans of a config: of its common rules, and of every stage, whose rules come below those.

    Args:
        tree: whose tensors the masks are for.
        masks: as the config on disk selects; stages in their order.

    Attributes:
        shown: the stage whose plan is shown and edited; None for the common rules.
    """

    def __init__(self, tree: ParamTree, masks: Masks) -> None:
        self._tree = tree
        self._plans = {stage: FreezePlan(tree, mask) for stage, mask in masks.items()}
        self.shown: str | None = None
        self._given: dict[str | None, tuple[int, Action, tuple[Rule, ...]]] = {}

    @property
    def plan(self) -> FreezePlan:
        """The plan that is shown."""
        return self._plans[self.shown]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages, in their order."""
        return tuple(stage for stage in self._plans if stage is not None)

    def show(self, stage: str | None) -> None:
        """Show the plan of a stage, or of the common rules.

        Raises:
            ConfigError: there is no such stage.
        """
        if stage not in self._plans:
            raise no_such_stage(stage, self.names)
        self.shown = stage

    def next(self, step: int) -> str | None:
        """Show the stage that is `step` further, around the end, and return it; None without stages."""
        names = self.names
        if names:
            place = names.index(self.shown) + step if self.shown in names else 0
            self.shown = names[place % len(names)]
        return self.shown

    def why_not_a_name(self, name: str) -> str:
        """Return why a new stage cannot have this name; "" if it can."""
        if not name:
            return "A stage needs a name."
        return f"There is a stage {name} already." if name in self._plans else ""

    def add(self, stage: str) -> None:
        """Add a stage below the others, with the plan of the common rules; show it."""
        self._plans.setdefault(stage, FreezePlan(self._tree, self._plans[None].mask()))
        self.shown = stage

    def move_to(self, tree: ParamTree) -> None:
        """Put the plans into the order of another tree of the same tensors, with their undo histories."""
        given, before = self.given(), self._tree
        moved = {stage: plan.moved_to(tree) for stage, plan in self._plans.items()}
        # New ties may have changed a plan: its rules would then say something else.
        self._given = {
            stage: (moved[stage].version, *made)
            for stage, made in given.items()
            if moved[stage].mask() == moved_mask(self._plans[stage].mask(), before, tree)
        }
        self._tree, self._plans = tree, moved

    def give(self, default: Action, rules: tuple[Rule, ...]) -> None:
        """Remember the rules that made the shown plan, to be saved as they are unless it is edited."""
        self._given[self.shown] = self.plan.version, default, rules

    def given(self) -> dict[str | None, tuple[Action, tuple[Rule, ...]]]:
        """Return stage -> default and rules, of the plans that rules made and nobody edited since."""
        return {
            stage: (default, rules)
            for stage, (version, default, rules) in self._given.items()
            if version == self._plans[stage].version
        }

    def masks(self) -> dict[str | None, bytes]:
        """Return the masks of all plans."""
        return {stage: plan.mask() for stage, plan in self._plans.items()}
