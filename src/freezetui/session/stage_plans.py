"""StagePlans: the plan of the common rules and one for each stage; one of them is shown and edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from freezetui.config.schema import Stage, no_such_stage
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.freeze.rules import Action, Rule
from freezetui.freeze.stage_plan import StagePlan
from freezetui.freeze.tree import ParamTree
from freezetui.session.stage_history import Settings, StageHistory, StageStep, Structure

#: Per stage, 1 to train and 0 to freeze for each tensor; None stands for the common rules.
Masks = Mapping[str | None, bytes]
#: A new stage of this name trains the whole model, in any case of letters.
EVERYTHING = "everything"
DEFAULTS = Settings()


class StagePlans:
    """The plans of a config: of its common rules, and of every stage, whose rules are below those.

    Args:
        tree: whose tensors the masks are for.
        masks: as the config on disk selects; stages in their order.
        stages: as on disk, for their length, their learning rate and their rules.
        settings: as on disk.

    Attributes:
        shown: the stage whose plan is shown and edited; None for the common rules.
        sections: stage -> how it is in the config, with the rules that it had there.
        settings: of the whole config.
    """

    def __init__(
        self, tree: ParamTree, masks: Masks, stages: Sequence[Stage] = (), settings: Settings = DEFAULTS
    ) -> None:
        self._tree, self.settings = tree, settings
        known = {stage.name: stage for stage in stages}
        self.sections = {name: known.get(name, Stage(name)) for name in masks if name is not None}
        self._common = FreezePlan(tree, masks[None])
        self._plans = {
            name: StagePlan(tree, masks[name], rules=section.rules) for name, section in self.sections.items()
        }
        for name, plan in self._plans.items():
            plan.saved_as = name
        self.shown: str | None = None
        self._given: dict[str | None, tuple[int, Action, tuple[Rule, ...]]] = {}
        self._history = StageHistory()
        self._base = self._common.mask()

    @property
    def plan(self) -> FreezePlan:
        """The plan that is shown."""
        return self.plan_of(self.shown)

    def plan_of(self, stage: str | None) -> FreezePlan:
        """Return the plan of a stage, or of the common rules."""
        return self._common if stage is None else self._plans[stage]

    def saved_as(self, stage: str | None) -> str | None:
        """Return the name under which the config on disk has a stage; None for the common rules, or none."""
        return None if stage is None else self._plans[stage].saved_as

    def note_saved(self, sections: Sequence[Stage]) -> None:
        """Take over the sections of the stages as they were written."""
        self.sections = {stage.name: stage for stage in sections}
        for name, plan in self._plans.items():
            plan.saved_as = name

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
        if stage is not None and stage not in self._plans:
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
        """Let the stages follow the common rules if those were edited; what was edited in a stage stays."""
        base = self._common.mask()
        if base != self._base:
            self._base = base
            self._rebase()

    def _rebase(self) -> None:
        for plan in self._plans.values():
            plan.rebase(self._selected(plan.rules))

    def _selected(self, rules: tuple[Rule, ...]) -> bytes:
        """Return what these rules select on top of the common ones."""
        if not rules:
            return self._base
        from freezetui.config.sync import painted  # not needed for the first screen

        return painted(rules, self._tree, self._base)

    def why_not_a_name(self, name: str) -> str:
        """Return why a new stage cannot have this name; "" if it can."""
        if not name:
            return "A stage needs a name."
        return f"There is already a stage called {name}." if name in self._plans else ""

    def add(self, stage: str) -> None:
        """Add a stage below the others, with the plan of the common rules; show it."""
        self.follow_common()
        self._add(Stage(stage), self._base)

    def start(self, stage: str) -> None:
        """Add a stage that begins like the shown plan; one called "everything" trains the whole model."""
        self.follow_common()
        if stage.casefold() == EVERYTHING:
            everything = (Rule("train", "**"),)
            self._add(Stage(stage, rules=everything), self._selected(everything))
        else:
            self._add(Stage(stage), self.plan.mask())

    def _add(self, section: Stage, mask: bytes) -> None:
        stage, rules = section.name, section.rules
        if stage in self._plans:
            self.shown = stage
            return
        plan = StagePlan(self._tree, self._selected(rules), mask, rules)
        sections, plans = {**self.sections, stage: section}, {**self._plans, stage: plan}
        self._change(f"the new stage {stage}", sections=sections, plans=plans, shown=stage)

    def rename(self, old: str, new: str) -> None:
        """Rename a stage; its place, plan and undo history stay."""
        section = msgspec.structs.replace(self.sections[old], name=new)
        sections = {new if n == old else n: section if n == old else s for n, s in self.sections.items()}
        plans = {new if stage == old else stage: plan for stage, plan in self._plans.items()}
        shown = new if self.shown == old else self.shown
        what = f"the name {new}, once {old}"
        self._change(what, (old, new), sections=sections, plans=plans, shown=shown)

    def remove(self, stage: str) -> None:
        """Remove a stage; the one in its place is shown then, or the common rules after the last."""
        place = self.names.index(stage)
        sections = {name: section for name, section in self.sections.items() if name != stage}
        plans = {name: plan for name, plan in self._plans.items() if name != stage}
        rest, shown = tuple(sections), self.shown
        if shown == stage:
            shown = rest[min(place, len(rest) - 1)] if rest else None
        self._change(f"the deletion of {stage}", sections=sections, plans=plans, shown=shown)

    def move(self, stage: str, by: int) -> None:
        """Move a stage up (-1) or down (1) among the others; at an end it stays."""
        names = list(self.names)
        place = names.index(stage)
        if 0 <= place + by < len(names):
            names.insert(place + by, names.pop(place))
            sections = {name: self.sections[name] for name in names}
            self._change(f"the place of {stage}", sections=sections)

    def change(self, stage: str, epochs: int | None, lr_scale: float) -> None:
        """Set how long a stage is, None leaving that to the script, and what scales its learning rate."""
        section = msgspec.structs.replace(self.sections[stage], epochs=epochs, lr_scale=lr_scale)
        if section != self.sections[stage]:
            self._change(f"the schedule of {stage}", sections={**self.sections, stage: section})

    def set(self, **settings: Any) -> None:
        """Change settings of the config, by their names; it can be undone as what is done to the stages."""
        after = self.settings._replace(**settings)
        if after != self.settings:
            what = ", ".join(f"{name}: {value}" for name, value in settings.items())
            self._change(what, settings=after)

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit of the shown plan to undo, or a change of the stages."""
        return self.can_step(False, self.shown)

    def can_step(self, redo: bool, stage: str | None) -> bool:
        """Whether there is something to undo or redo where `stage` is shown; None is the common rules."""
        plan, history = self.plan_of(stage), self._history
        if redo:
            return plan.can_redo or history.next_redo(stage, plan) is not None
        return plan.can_undo or history.next_undo(stage, plan) is not None

    @property
    def next_undo(self) -> StageStep | None:
        """The change of the stages that is undone next; None if an edit of the shown plan is, or nothing."""
        return self._history.next_undo(self.shown, self.plan)

    @property
    def next_redo(self) -> StageStep | None:
        """The change of the stages that is redone next; None if an edit of the shown plan is, or nothing."""
        return self._history.next_redo(self.shown, self.plan)

    def undo(self) -> StageStep | None:
        """Undo the change of the stages that is next, and return it; None if there is none."""
        step = self.next_undo
        if step is not None:
            self._take(step.before, step.renamed and step.renamed[::-1])
            self._history.undone(self.plan)
        return step

    def redo(self) -> StageStep | None:
        """Redo the change of the stages that is next, and return it; None if there is none."""
        step = self.next_redo
        if step is not None:
            self._take(step.after, step.renamed)
            self._history.redone(self.plan)
        return step

    def _change(self, what: str, renamed: tuple[str, str] | None = None, **changes: Any) -> None:
        before = Structure(self.sections, self._plans, self.shown, self.settings)
        after = before._replace(**changes)
        self._take(after, renamed)
        self._history.note(StageStep(what, before, after, renamed, self.plan.edits))

    def _take(self, structure: Structure, renamed: tuple[str, str] | None) -> None:
        """Make these the stages; the rules that made a plan stay with the stage, under its new name."""
        given = self._given
        if renamed is not None and renamed[0] in given:
            given[renamed[1]] = given.pop(renamed[0])
        self.sections, self._plans, self.shown, self.settings = structure
        self._given = {s: made for s, made in given.items() if s is None or s in self._plans}
        self._base = self._common.mask()
        self._rebase()  # the common rules may have been edited while a stage was away

    def reset(
        self, stages: Sequence[tuple[Stage, bytes]], shown: str | None, settings: Settings, what: str
    ) -> None:
        """Replace all stages and settings, which can be undone, as `what`; plans of the same name are edited.

        Args:
            shown: what to show then; one that there is not shows the first stage.
        """
        self._base = self._common.mask()
        plans: dict[str, StagePlan] = {}
        for section, mask in stages:
            below = self._selected(section.rules)
            plan = self._plans.get(section.name) or StagePlan(self._tree, below, rules=section.rules)
            plan.rebase(self._selected(plan.rules))
            plan.replace(mask)
            plans[section.name] = plan
        sections = {section.name: section for section, _ in stages}
        shown = shown if shown in sections else next(iter(sections), None)
        self._change(what, sections=sections, plans=plans, shown=shown, settings=settings)

    def move_to(self, tree: ParamTree) -> None:
        """Put the plans into the order of another tree of the same tensors, with their undo histories."""
        given, before, old = self.given(), self._tree, self.masks()
        self._plans = self._history.moved_to(tree, self._plans)
        self._common, self._tree = self._common.moved_to(tree), tree
        self._base = self._common.mask()
        # New ties may have changed a plan: its rules would then say something else.
        self._given = {
            stage: (self.plan_of(stage).version, *made)
            for stage, made in given.items()
            if self.plan_of(stage).mask() == moved_mask(old[stage], before, tree)
        }

    def give(self, default: Action, rules: tuple[Rule, ...]) -> None:
        """Remember the rules that made the shown plan, to be saved as they are unless it is edited."""
        self._given[self.shown] = self.plan.version, default, rules

    def given(self) -> dict[str | None, tuple[Action, tuple[Rule, ...]]]:
        """Return stage -> default and rules, of the plans that rules made and nobody edited since."""
        return {
            stage: (default, rules)
            for stage, (version, default, rules) in self._given.items()
            if version == self.plan_of(stage).version
        }

    def masks(self) -> dict[str | None, bytes]:
        """Return the masks of all plans."""
        return {None: self._common.mask(), **{stage: plan.mask() for stage, plan in self._plans.items()}}
