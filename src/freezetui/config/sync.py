"""Between a config and a plan: a config read onto a model, and a plan written as a config."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from freezetui.config.schema import ConfigData, Count, Expect, ModelSection, fingerprint
from freezetui.errors import PatternError
from freezetui.freeze.minimize import added_rules, choose_rules
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree


class ConfigMatch(NamedTuple):
    """A config read onto a model.

    Attributes:
        mask: per tensor, 1 to train and 0 to freeze.
        differences: how the model differs from the one the config was made for, one line each.
        complete: whether every rule named something.
        fits: whether names and shapes are those the config was made for, or it does not say which.
    """

    mask: bytes
    differences: tuple[str, ...]
    complete: bool
    fits: bool


def plan_from_config(config: ConfigData, tree: ParamTree) -> ConfigMatch:
    """Return what `config` selects in `tree`; a rule that matches nothing is skipped and is a difference."""
    mask = bytearray([config.default == "train"]) * len(tree.tensors)
    lost: list[str] = []
    for rule in config.rules:
        try:
            overlay([rule], tree, mask)
        except PatternError as error:
            lost.append(f"{rule.action} {rule.pattern}: {error}")
    fits = not config.model.fingerprint or config.model.fingerprint == fingerprint(tree.tensors)
    lines = [] if fits else ["it was saved for a model with different names or shapes"]
    lines += [*_counts_differ(config, tree, bytes(mask)), *lost]
    return ConfigMatch(bytes(mask), tuple(lines), not lost, fits)


def _counts_differ(config: ConfigData, tree: ParamTree, mask: bytes) -> list[str]:
    totals = FreezePlan(tree, mask).totals()
    lines = []
    if config.expect is not None:
        for what, wanted, got in (
            ("frozen", config.expect.frozen, Count.of(totals.frozen)),
            ("trainable", config.expect.trainable, Count.of(totals.trainable)),
        ):
            if wanted != got:
                lines.append(
                    f"{what}: {wanted.tensors:,} tensors, {wanted.elements:,} elements expected; "
                    f"{got.tensors:,} tensors, {got.elements:,} elements found"
                )
    return lines


def config_from_plan(plan: FreezePlan, model: ModelSection, existing: ConfigData | None = None) -> ConfigData:
    """Return the config that says what `plan` says.

    Rules of `existing` stay as they are where they still say the same, and are added to where that is
    no longer than writing all of them again.

    Args:
        model: what it was chosen for; its fingerprint is filled in here.
        existing: what was saved before, for its rules, stages and norm statistics.
    """
    tree, mask = plan.tree, plan.mask()
    default, rules = _rules(tree, mask, existing)
    return msgspec.structs.replace(
        existing or ConfigData(),
        model=msgspec.structs.replace(model, fingerprint=fingerprint(tree.tensors)),
        default=default,
        rules=rules,
        expect=Expect.of(plan.totals()),
    )


def _rules(tree: ParamTree, mask: bytes, existing: ConfigData | None) -> tuple[Action, tuple[Rule, ...]]:
    default, fresh = choose_rules(tree, mask)
    if existing is None:
        return default, fresh
    reading = plan_from_config(existing, tree)
    added = added_rules(tree, mask, reading.mask)
    if len(added) > len(fresh) or not reading.complete:
        return default, fresh
    return existing.default, (*existing.rules, *added)
