"""StagePlans: the plan of the common rules and one for each stage; one of them is shown and edited."""

from __future__ import annotations

from collections.abc import Mapping

from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezePlan
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
            names = ", ".join(self.names)
            raise ConfigError(
                f"the config has no stage {stage!r}.", f"Stages: {names}." if names else "It has no stages."
            )
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

    def masks(self) -> dict[str | None, bytes]:
        """Return the masks of all plans."""
        return {stage: plan.mask() for stage, plan in self._plans.items()}
