"""Replaces the plan of a session by a preset and by rules, as the command line does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import stored_mask
from freezetui.freeze.presets import chosen
from freezetui.freeze.rules import Action, Rule, overlay

if TYPE_CHECKING:
    from freezetui.freeze.presets import Choice
    from freezetui.freeze.structure import Structure
    from freezetui.session.stage_plans import StagePlans


def choose(
    stages: StagePlans,
    structure: Structure | None,
    preset: Choice | None,
    rules: tuple[Rule, ...],
    default: Action,
) -> None:
    """Replace the shown plan: a preset, or where a plan starts, then the rules.

    The common rules start with the default, and with what the file stores as frozen; a stage with what
    the common rules select. Saving writes the rules as given, in their order, below those of the preset.

    Args:
        structure: of the live model; None if it is not known.

    Raises:
        PatternError: a rule or the preset matches nothing in the model.
    """
    plan = stages.plan
    tree = plan.tree
    base = bytes([default == "train"]) * len(tree.tensors)
    if stages.shown is not None:
        base = stages.plan_of(None).mask()
    start = base if stages.shown is not None or default == "freeze" else stored_mask(tree)
    if preset:
        start = bytes(chosen(preset, tree, structure))
    plan.replace(overlay(rules, tree, bytearray(start)))
    stages.give(default, (*added_rules(tree, start, base), *rules))
