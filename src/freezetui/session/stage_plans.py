"""StagePlans: the plan of the common rules and one for each stage; one of them is shown and edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from freezetui.config.schema import Stage, no_such_stage
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Action, Rule
from freezetui.freeze.tree import ParamTree

#: Per stage, 1 to train and 0 to freeze for each tensor; None stands for the common rules.
Masks = Mapping[str | None, bytes]


class StagePlans:
    """The plans of a config: of its common rules, and of every stage, whose rules come below those.

    Args:
        tree: whose tensors the masks are for.
        masks: as the config on disk selects; stages in their order.
        stages: as on disk, for their length, their learning rate and their rules.

    Attributes:
        shown: the stage whose plan is shown and edited; None for the common rules.
        sections: stage -> how it is in the config, with the rules that it had there.
    """

    def __init__(self, tree: ParamTree, masks: Masks, stages: Sequence[Stage] = ()) -> None:
        self._tree = tree
        known = {stage.name: stage for stage in stages}
        self.sections = {name: known.get(name, Stage(name)) for name in masks if name is not None}
        self._plans = {stage: FreezePlan(tree, mask) for stage, mask in masks.items()}
        self.shown: str | None = None
        self._given: dict[str | None, tuple[int, Action, tuple[Rule, ...]]] = {}
        self._base = self._plans[None].mask()
        self._own: dict[str, int] = {}

    @property
    def plan(self) -> FreezePlan:
        """The plan that is shown."""
        return self._plans[self.shown]

    def plan_of(self, stage: str | None) -> FreezePlan:
        """Return the plan of a stage, or of the common rules."""
        return self._plans[stage]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages, in their order."""
        return tuple(self.sections)

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages in their order, without their rules."""
        return tuple(msgspec.structs.replace(s, rules=(), expect=None) for s in self.sections.values())

    def show(self, stage: str | None) -> None:
        """Show the plan of a stage, or of the common rules.

        Raises:
            ConfigError: the stage does not exist.
        """
        if stage not in self._plans:
            raise no_such_stage(stage, self.names)
        self.shown = stage

    def next(self, step: int) -> str | None:
        """Show what is `step` further and return it: the common rules, then the stages, around the end.

        With 0, the first stage is shown in place of the common rules.
        """
        every = (None, *self.names)
        if step or self.shown is None:
            self.shown = every[(every.index(self.shown) + (step or len(every) > 1)) % len(every)]
        return self.shown

    def follow_common(self) -> None:
        """Build the stages on the common rules again if those were edited; a stage's own rules stay."""
        before, self._base = self._base, self._plans[None].mask()
        if before == self._base or not self.sections:
            return
        from freezetui.config.sync import painted, staged  # not needed for the first screen

        given = self.given()
        for name, section in self.sections.items():
            plan = self._plans[name]
            if name in given:
                section = msgspec.structs.replace(section, rules=given[name][1])
            elif self._own.get(name) != plan.version:
                section = staged(section, self._tree, before, plan.mask(), Budget())
            plan.rebase(painted(section.rules, self._tree, self._base))
            self.sections[name], self._own[name] = section, plan.version

    def why_not_a_name(self, name: str) -> str:
        """Return why a new stage cannot have this name; "" if it can."""
        if not name:
            return "A stage needs a name."
        return f"There is a stage {name} already." if name in self._plans else ""

    def add(self, stage: str) -> None:
        """Add a stage below the others, with the plan of the common rules; show it."""
        if stage not in self._plans:
            self._plans[stage] = FreezePlan(self._tree, self._plans[None].mask())
            self.sections[stage] = Stage(stage)
        self.shown = stage

    def rename(self, old: str, new: str) -> None:
        """Rename a stage; its place, plan and undo history stay."""
        section = msgspec.structs.replace(self.sections[old], name=new)
        self.sections = {new if n == old else n: section if n == old else s for n, s in self.sections.items()}
        self._plans[new] = self._plans.pop(old)
        if old in self._given:
            self._given[new] = self._given.pop(old)
        self._own.pop(old, None)
        self.shown = new if self.shown == old else self.shown

    def remove(self, stage: str) -> None:
        """Remove a stage; the one in its place is shown then, or the common rules after the last."""
        names = self.names
        place = names.index(stage)
        del self.sections[stage], self._plans[stage]
        self._given.pop(stage, None)
        self._own.pop(stage, None)
        rest = self.names
        if self.shown == stage:
            self.shown = rest[min(place, len(rest) - 1)] if rest else None

    def move(self, stage: str, by: int) -> None:
        """Move a stage up (-1) or down (1) among the others; at an end it stays."""
        names = list(self.names)
        place = names.index(stage)
        if 0 <= place + by < len(names):
            names.insert(place + by, names.pop(place))
            self.sections = {name: self.sections[name] for name in names}

    def change(self, stage: str, epochs: int | None, lr_scale: float) -> None:
        """Set how long a stage is, None leaving that to the script, and what scales its learning rate."""
        self.sections[stage] = msgspec.structs.replace(self.sections[stage], epochs=epochs, lr_scale=lr_scale)

    def reset(self, stages: Sequence[tuple[Stage, bytes]]) -> None:
        """Replace all stages; a plan of the same name is edited, so that it can be undone."""
        plans: dict[str | None, FreezePlan] = {None: self._plans[None]}
        for section, mask in stages:
            plan = self._plans.get(section.name) or FreezePlan(self._tree, self._plans[None].mask())
            plan.replace(mask)
            plans[section.name] = plan
        self.sections = {section.name: section for section, _ in stages}
        self._plans, self.shown = plans, None
        self._base, self._own = plans[None].mask(), {}

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
        self._base, self._own = moved[None].mask(), {}

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
