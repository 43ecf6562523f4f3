"""Converts between configs and plans: applies a config to a tree, and writes a plan as a config."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from freezetui.config.schema import ConfigData, Count, Expect, ModelSection, fingerprint
from freezetui.errors import PatternError
from freezetui.freeze.minimize import added_rules, choose_rules
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable, shortened


class ConfigMatch(NamedTuple):
    """The result of applying a config to a model's tree.

    Attributes:
        mask: per tensor, 1 to train and 0 to freeze.
        differences: how the model differs from the one the config was saved for, one line each.
        complete: whether every rule matched something.
        fits: whether names and shapes are those that the config was saved for, or it does not record them.
    """

    mask: bytes
    differences: tuple[str, ...]
    complete: bool
    fits: bool


def plan_from_config(config: ConfigData, tree: ParamTree) -> ConfigMatch:
    """Return what `config` selects in `tree`; a rule that matches nothing is skipped and is a difference."""
    mask = bytearray([config.default == "train"]) * len(tree.tensors)
    unmatched: list[str] = []
    budget = Budget()
    for number, rule in enumerate(config.rules):
        try:
            overlay([rule], tree, mask, budget)
        except PatternError as error:
            if budget.is_used_up:
                unmatched.append(f"rules {number + 1:,} to {len(config.rules):,}: {error}")
                break
            unmatched.append(f"{rule.action} {printable(shortened(rule.pattern))}: {error}")
    fits = not config.model.fingerprint or config.model.fingerprint == fingerprint(tree.tensors)
    lines = [] if fits else ["it was saved for a model with different names or shapes"]
    lines += [*_counts_differ(config, tree, bytes(mask)), *unmatched]
    return ConfigMatch(bytes(mask), tuple(lines), not unmatched, fits)


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
    """Return the config that selects the same as `plan`.

    Rules of `existing` stay unchanged if they still match, and new ones are added below them if that is
    not longer than rewriting all rules.

    Args:
        model: the model of the plan; its fingerprint is filled in here.
        existing: the config saved before, for its rules, stages and norm statistics.
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
    match = plan_from_config(existing, tree)
    added = added_rules(tree, mask, match.mask)
    if len(added) > len(fresh) or not match.complete:
        return default, fresh
    return existing.default, (*existing.rules, *added)
