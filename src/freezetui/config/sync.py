"""Converts between configs and plans: applies a config to a tree, and writes a plan as a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from freezetui import numbers
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, Count, Expect, ModelSection, Stage, fingerprint
from freezetui.errors import PatternError
from freezetui.freeze.minimize import added_rules, choose_rules
from freezetui.freeze.plan import FROZEN, FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable, shortened


class ConfigMatch(NamedTuple):
    """The result of applying a config to a model's tree.

    Attributes:
        mask: per tensor, 1 to train and 0 to freeze.
        differences: how the model differs from the one the config was saved for, one line each.
        refused: those of them that `apply` refuses: the others inform.
        complete: whether every rule matched something.
        fits: whether names and shapes are those that the config was saved for, or it does not record them.
    """

    mask: bytes
    differences: tuple[str, ...]
    refused: tuple[str, ...]
    complete: bool
    fits: bool


def plan_from_config(config: ConfigData, tree: ParamTree, budget: Budget | None = None) -> ConfigMatch:
    """Return what `config` selects in `tree`; a rule that matches nothing is skipped and is a difference.

    Args:
        budget: shared by the patterns of several calls; None for a budget of its own.
    """
    mask = _default_mask(config, tree)
    unmatched = _skipping(config.rules, tree, mask, budget or Budget())
    fits = not config.model.fingerprint or config.model.fingerprint == fingerprint(tree.tensors)
    wrong = _frozen_differs(config.expect, tree, mask) if config.expect else ""
    lines = [*([wrong] if wrong else []), *unmatched]
    informs = [] if fits or lines else ["it was saved for a model with different names or shapes"]
    return ConfigMatch(bytes(mask), (*lines, *informs), tuple(lines), not unmatched, fits)


def other_key(config: ConfigData, key: str) -> str:
    """Return that the config was saved for another state_dict of the checkpoint; "" if it was not.

    Args:
        key: which one is open.
    """
    meant = config.model.key
    if meant in ("", key):
        return ""
    return f"it was saved for the state_dict {shortened(meant)}; {shortened(key) or 'the top level'} is open"


def differs(
    config: ConfigData,
    stage: str | None,
    tensors: Sequence[TensorInfo],
    budget: Budget | None = None,
    lenient: bool = False,
) -> str:
    """Return how what the rules freeze in these tensors differs from what is recorded; "" if it does not.

    Args:
        stage: whose rules are looked at too; None for the config's own alone.
        budget: what the patterns may take together; None for a budget of its own.
        lenient: whether a rule may match nothing: it may name what only the live model has.

    Raises:
        PatternError: a pattern takes too long, or matches nothing.
        ConfigError: the config does not have this stage.
    """
    tree, budget = ParamTree(tensors), budget or Budget()
    mask = _default_mask(config, tree)
    for part in (None, stage) if stage is not None else (None,):
        rules, expect = config.rules if part is None else config.stage(part).rules, config.expect_for(part)
        if lenient:
            _skipping(rules, tree, mask, budget)
        else:
            overlay(rules, tree, mask, budget)
        if expect is not None and (line := _frozen_differs(expect, tree, mask)):
            return line
    return ""


def _default_mask(config: ConfigData, tree: ParamTree) -> bytearray:
    return bytearray([config.default == "train"]) * len(tree.tensors)


def _skipping(rules: Sequence[Rule], tree: ParamTree, mask: bytearray, budget: Budget) -> list[str]:
    """Apply the rules that match on `mask`, in place; return one line for each that does not.

    The rules that no time is left for are one line together.
    """
    unmatched: list[str] = []
    for number, rule in enumerate(rules, 1):
        too_late = budget.is_used_up
        try:
            overlay([rule], tree, mask, budget)
        except PatternError as error:
            what = f"{rule.action} {shortened(rule.pattern)}"
            if too_late:
                what = f"rules {number:,} to {len(rules):,}"
            unmatched.append(printable(f"{what}: {error}"))
            if too_late:
                break
    return unmatched


def _frozen_differs(expect: Expect, tree: ParamTree, mask: bytearray) -> str:
    """Return how what `mask` freezes differs from what is recorded: by fingerprint, else by counts."""
    wanted, got = expect.frozen, frozen_count(tree, mask)
    if wanted.fingerprint == got.fingerprint or (
        not wanted.fingerprint and (wanted.tensors, wanted.elements) == (got.tensors, got.elements)
    ):
        return ""
    if (wanted.tensors, wanted.elements) == (got.tensors, got.elements):
        return f"as many frozen tensors as recorded, {got.tensors:,}, but with different names or shapes"
    return (
        f"frozen: expected {numbers.plural(wanted.tensors, 'tensor')} "
        f"({numbers.plural(wanted.elements, 'element')}), "
        f"found {got.tensors:,} ({got.elements:,})"
    )


def frozen_count(tree: ParamTree, mask: bytes | bytearray) -> Count:
    """Return what `mask` freezes, with the fingerprint of its names and shapes."""
    plan = FreezePlan(tree, mask)
    frozen = [t for t, state in zip(tree.tensors, plan.states, strict=True) if state == FROZEN]
    size = plan.totals().frozen
    return Count(size.tensors, size.elements, fingerprint(frozen))


def config_from_plan(
    plan: FreezePlan,
    model: ModelSection,
    existing: ConfigData | None = None,
    given: tuple[Action, tuple[Rule, ...]] | None = None,
    stages: Mapping[str, bytes] = {},
    given_to_stages: Mapping[str, tuple[Rule, ...]] = {},
    schedule: Sequence[Stage] | None = None,
) -> ConfigData:
    """Return the config that selects the same as `plan`, and as `stages` in each stage.

    Rules of `existing` stay unchanged if they still match, and new ones are added below them if that is
    not longer than rewriting all rules. Those of a stage stay if they select what they should.

    Args:
        plan: of the common rules.
        model: the model of the plan; its fingerprint is filled in here.
        existing: the config saved before, for its rules, stages and norm statistics.
        given: the default and the rules that made the plan, to be written as they are; None finds rules.
        stages: stage -> the mask to write; a stage that is not in it keeps its rules, a new one is added.
        given_to_stages: stage -> the rules that made its mask, to be written as they are.
        schedule: the stages with their rules so far, in their order; None are those of `existing`.
    """
    tree, mask = plan.tree, plan.mask()
    default, rules = given or _rules(tree, mask, existing)
    trainable = Count.of(plan.totals().trainable)
    config = msgspec.structs.replace(
        existing or ConfigData(),
        model=msgspec.structs.replace(model, fingerprint=fingerprint(tree.tensors)),
        default=default,
        rules=rules,
        expect=Expect(frozen_count(tree, mask), trainable),
    )
    before = config.stages if schedule is None else schedule
    known = {stage.name: stage for stage in before}
    known |= {name: Stage(name) for name in stages if name not in known}
    known |= {
        name: msgspec.structs.replace(known[name], rules=rules) for name, rules in given_to_stages.items()
    }
    budget = Budget()
    written = [staged(stage, tree, mask, stages.get(name), budget) for name, stage in known.items()]
    return msgspec.structs.replace(config, stages=tuple(written))


def staged(stage: Stage, tree: ParamTree, common: bytes, wanted: bytes | None, budget: Budget) -> Stage:
    """Return the stage with rules that select `wanted`, and with what they freeze.

    Args:
        common: what the config's own rules select.
    """
    mask = bytearray(common)
    unmatched = _skipping(stage.rules, tree, mask, budget)
    if wanted is not None and (unmatched or FreezePlan(tree, mask).mask() != wanted):
        below, fresh = added_rules(tree, wanted, bytes(mask)), added_rules(tree, wanted, common)
        own = fresh if unmatched or len(fresh) < len(below) else (*stage.rules, *below)
        stage = msgspec.structs.replace(stage, rules=own)
        mask, unmatched = bytearray(wanted), []
    expect = Expect(frozen_count(tree, mask)) if stage.rules and not unmatched else None
    return msgspec.structs.replace(stage, expect=expect)


def painted(rules: Sequence[Rule], tree: ParamTree, base: bytes) -> bytes:
    """Return what rules select above `base`: per tensor, 1 to train; rules without a match are skipped."""
    mask = bytearray(base)
    _skipping(rules, tree, mask, Budget())
    return bytes(mask)


def stage_masks(config: ConfigData, tree: ParamTree, common: bytes, budget: Budget) -> dict[str, bytes]:
    """Return stage -> what it selects: per tensor, 1 to train; rules without a match are skipped.

    Args:
        common: what the config's own rules select, so that they are matched once.
        budget: the one that they were matched on.
    """
    masks = {}
    for stage in config.stages:
        mask = bytearray(common)
        _skipping(stage.rules, tree, mask, budget)
        masks[stage.name] = bytes(mask)
    return masks


def stage_differences(config: ConfigData, tree: ParamTree, masks: Mapping[str, bytes]) -> dict[str, str]:
    """Return how what the stages freeze in `tree` differs from what is recorded: a line for each that does.

    Args:
        masks: what `stage_masks` has returned.
    """
    wrong = (
        (stage.name, _frozen_differs(stage.expect, tree, bytearray(masks[stage.name])))
        for stage in config.stages
        if stage.expect is not None
    )
    return {name: f"stage {printable(name)}: {line}" for name, line in wrong if line}


def split_ties(tree: ParamTree, mask: bytes) -> tuple[str, ...]:
    """Return one line if a mask freezes a tensor under one of its names and trains it under another."""
    split = (g for i, g in tree.tie_groups.items() if g[0] == i and len({mask[m] for m in g}) > 1)
    pairs = [(next(m for m in g if not mask[m]), next(m for m in g if mask[m])) for g in split]
    if not pairs:
        return ()
    frozen, trained = (printable(shortened(tree.tensors[m].name)) for m in pairs[0])
    more = f", and {len(pairs) - 1:,} more" if len(pairs) > 1 else ""
    return (f"it freezes {frozen} and trains {trained}, which are one tensor{more}: it trains",)


def _rules(tree: ParamTree, mask: bytes, existing: ConfigData | None) -> tuple[Action, tuple[Rule, ...]]:
    default, fresh = choose_rules(tree, mask, existing.default if existing else "train")
    if existing is None:
        return default, fresh
    match = plan_from_config(existing, tree)
    added = added_rules(tree, mask, match.mask)
    if len(added) > len(fresh) or not match.complete:
        return default, fresh
    return existing.default, (*existing.rules, *added)
