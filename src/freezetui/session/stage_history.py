"""StageHistory: what was done to the stages themselves, to be undone and redone. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from freezetui.config.schema import ConfigData, Stage
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.stage_plan import StagePlan
from freezetui.freeze.tree import ParamTree


class Settings(NamedTuple):
    """The settings of a config that no line of the tree shows; see `ConfigData`."""

    norm_statistics: Literal["freeze", "update"] = "freeze"
    frozen_modules: Literal["train", "eval"] = "train"

    @classmethod
    def of(cls, config: ConfigData | None) -> Settings:
        """Return those of a config; None for the defaults."""
        return cls() if config is None else cls(config.norm_statistics, config.frozen_modules)


class Structure(NamedTuple):
    """Which stages there are, with the plan of each, which is shown (None for the common rules), settings."""

    sections: dict[str, Stage]
    plans: dict[str, StagePlan]
    shown: str | None
    settings: Settings


class StageStep(NamedTuple):
    """One change of the stages, or of a setting.

    Attributes:
        what: what it did, in words.
        renamed: the name of a stage before and after, if that is what it did.
        edits: how many edits of the plan that was shown after it can be undone before it.
        made: how many edits were ever made of the plan that was shown when it was undone.
    """

    what: str
    before: Structure
    after: Structure
    renamed: tuple[str, str] | None = None
    edits: int = 0
    made: int = 0

    def said(self, redo: bool) -> str:
        """Return what undoing it does, or redoing it: of a setting, the value that it has then."""
        one, other = (self.before, self.after) if redo else (self.after, self.before)
        if one.settings == other.settings or one.sections != other.sections or one.plans != other.plans:
            return self.what
        changed = zip(Settings._fields, one.settings, other.settings, strict=True)
        return ", ".join(f"{name}: {value} again" for name, was, value in changed if was != value)


class StageHistory:
    """The changes of the stages, in their order; each is undone from the stage that it left on the screen.

    The plans are not copied: an edit of a plan is in the plan's own history, and survives the undoing of
    what was done to its stage.
    """

    def __init__(self) -> None:
        self._undo: list[StageStep] = []
        self._redo: list[StageStep] = []

    def note(self, step: StageStep) -> None:
        """Remember a change that was made now."""
        self._undo.append(step)
        self._redo.clear()

    def clear(self) -> None:
        """Forget all."""
        self._undo, self._redo = [], []

    def next_undo(self, shown: str | None, plan: FreezePlan) -> StageStep | None:
        """Return the change that is to be undone where `shown` is; None if an edit of its plan is."""
        if self._undo and self._undo[-1].after.shown == shown and plan.edits <= self._undo[-1].edits:
            return self._undo[-1]
        return None

    def next_redo(self, shown: str | None, plan: FreezePlan) -> StageStep | None:
        """Return the change that is to be redone where `shown` is; None if an edit of its plan is.

        A new edit there takes its place, as it does with an edit that was undone.
        """
        step = self._redo[-1] if self._redo else None
        if step and (step.before.shown, step.edits, step.made) == (shown, plan.edits, plan.made):
            return step
        return None

    def undone(self, plan: FreezePlan) -> None:
        """Move the last change to what can be redone.

        Args:
            plan: the one that is shown now.
        """
        self._redo.append(self._undo.pop()._replace(edits=plan.edits, made=plan.made))

    def redone(self, plan: FreezePlan) -> None:
        """Move the next change back to what can be undone; see `undone`."""
        self._undo.append(self._redo.pop()._replace(edits=plan.edits))

    def moved_to(self, tree: ParamTree, plans: dict[str, StagePlan]) -> dict[str, StagePlan]:
        """Put every plan of the history into the order of another tree, and return those of `plans`."""
        known: dict[int, StagePlan] = {}

        def moved(before: dict[str, StagePlan]) -> dict[str, StagePlan]:
            for plan in before.values():
                if id(plan) not in known:
                    known[id(plan)] = plan.moved_to(tree)
            return {stage: known[id(plan)] for stage, plan in before.items()}

        def step_moved(step: StageStep) -> StageStep:
            before = step.before._replace(plans=moved(step.before.plans))
            return step._replace(before=before, after=step.after._replace(plans=moved(step.after.plans)))

        now = moved(plans)
        self._undo[:], self._redo[:] = map(step_moved, self._undo), map(step_moved, self._redo)
        return now
