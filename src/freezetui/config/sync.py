"""Between a config and a plan: reading a config onto a model, and writing a choice back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from freezetui.config.schema import Count, FreezeConfig, ModelSection, expect_of, fingerprint
from freezetui.errors import PatternError
from freezetui.freeze.minimize import added_rules, choose_rules
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.text import shortened


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


def plan_from_config(config: FreezeConfig, tree: ParamTree) -> ConfigMatch:
    """What `config` selects in `tree`; a rule that names nothing here is skipped and told."""
    mask = bytearray([config.default == "train"]) * len(tree.tensors)
    lost: list[str] = []
    budget = Budget()
    for rule in config.rules:
        try:
            overlay([rule], tree, mask, budget)
        except PatternError as error:
            lost.append(f"{rule.action} {shortened(rule.pattern)}: {error}")
    fits = not config.model.fingerprint or config.model.fingerprint == fingerprint(tree.tensors)
    lines = [] if fits else ["it was made for a model with other names or shapes"]
    lines += [*_counts_differ(config, tree, bytes(mask)), *lost]
    return ConfigMatch(bytes(mask), tuple(lines), not lost, fits)


def _counts_differ(config: FreezeConfig, tree: ParamTree, mask: bytes) -> list[str]:
    totals = FreezePlan(tree, mask).totals(0, len(tree.tensors))
    lines = []
    if config.expect is not None:
        for what, wanted, got in (
            ("frozen", config.expect.frozen, Count.of(totals.frozen)),
            ("trainable", config.expect.trainable, Count.of(totals.trainable)),
        ):
            if wanted != got:
                lines.append(
                    f"{what}: {wanted.tensors:,} tensors, {wanted.elements:,} elements there; "
                    f"{got.tensors:,} tensors, {got.elements:,} elements here"
                )
    return lines


def config_from_plan(
    plan: FreezePlan, model: ModelSection, existing: FreezeConfig | None = None
) -> FreezeConfig:
    """The config that says what `plan` says.

    Rules of `existing` stay as they are where they still say the same, and are added to where that is
    no longer than writing all of them anew.

    Args:
        model: what it was chosen for; its fingerprint is filled in here.
        existing: what was saved before, for its rules, stages and norm statistics.
    """
    tree, mask = plan.tree, plan.mask()
    default, rules = _rules(tree, mask, existing)
    return msgspec.structs.replace(
        existing or FreezeConfig(),
        model=msgspec.structs.replace(model, fingerprint=fingerprint(tree.tensors)),
        default=default,
        rules=rules,
        expect=expect_of(plan.totals(0, len(tree.tensors))),
    )


def _rules(tree: ParamTree, mask: bytes, existing: FreezeConfig | None) -> tuple[Action, tuple[Rule, ...]]:
    default, fresh = choose_rules(tree, mask)
    if existing is None:
        return default, fresh
    reading = plan_from_config(existing, tree)
    added = added_rules(tree, mask, reading.mask)
    if len(added) > len(fresh) or not reading.complete:
        return default, fresh
    return existing.default, (*existing.rules, *added)
