"""Determines what a config freezes in the checkpoint that training began with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.codec import read_config
from freezetui.config.schema import ALL_STAGES, Stage
from freezetui.config.sync import other_key, plan_from_config, stage_differences
from freezetui.errors import ConfigError, PatternError
from freezetui.freeze.plan import FROZEN, UNTRAINABLE, FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import overlay
from freezetui.freeze.tree import ParamTree


class Plan(NamedTuple):
    """Which tensors a config freezes.

    Attributes:
        frozen: name -> whether it is frozen; None for what cannot train.
        keeps_statistics: whether frozen norms are kept in eval, so that their statistics do not change.
        joins_stages: whether it is what several stages freeze in common.
        note: how the checkpoint differs from the one that the config was saved for; "" if it does not.
    """

    config: str
    stage: str
    frozen: dict[str, bool | None]
    keeps_statistics: bool
    joins_stages: bool = False
    note: str = ""


def read_plans(path: Path, stage: str | None, before: Checkpoint) -> list[Plan]:
    """Return what the config at `path` freezes in `before`; several plans only for the stage "all".

    Args:
        stage: of its schedule; None selects what is frozen in all stages; "all" each stage in turn, unless
            one has this name.

    Raises:
        ConfigError: the config cannot be read, does not fit the checkpoint, or has no such stage.
    """
    config = read_config(path)
    tree = ParamTree(before.tensors)
    budget = Budget()  # one for the patterns of all stages
    match = plan_from_config(config, tree, budget)
    if match.refused:
        differences = "; ".join(each.rstrip(".") for each in match.refused[:3])
        hint = "Pass the config that training began with, and as BEFORE the checkpoint that it was saved for."
        if before.absent:
            hint = f"Files of {before.source} are missing: download them first."
        raise ConfigError(f"{path} does not fit {before.source}: {differences}.", hint)
    each = stage == ALL_STAGES and ALL_STAGES not in [named.name for named in config.stages]
    stages = config.stages if stage is None or each else [config.stage(stage)]
    masks = [_mask(named, tree, match.mask, budget) for named in stages] or [match.mask]
    keeps = config.norm_statistics == "freeze"
    asked = msgspec.structs.replace(config, stages=tuple(stages))
    by_stage = {named.name: mask for named, mask in zip(stages, masks, strict=False)}
    differing = stage_differences(asked, tree, by_stage).values()
    notes = *match.differences, *differing, other_key(config, before.key)
    note = "; ".join(filter(None, notes))
    if each and stages:
        pairs = zip(stages, masks, strict=True)
        plans = [_plan(path, named.name, tree, mask, keeps) for named, mask in pairs]
    else:
        trains = bytes(map(max, zip(*masks, strict=True)))
        plan = _plan(path, "" if each else stage or "", tree, trains, keeps)
        plans = [plan._replace(joins_stages=len(masks) > 1)]
    return [plan._replace(note=note) for plan in plans]


def _plan(path: Path, stage: str, tree: ParamTree, trains: bytes, keeps_statistics: bool) -> Plan:
    states = FreezePlan(tree, trains).states
    frozen = {
        tensor.name: None if state == UNTRAINABLE else state == FROZEN
        for tensor, state in zip(tree.tensors, states, strict=True)
    }
    return Plan(str(path), stage, frozen, keeps_statistics)


def _mask(stage: Stage, tree: ParamTree, common: bytes, budget: Budget) -> bytes:
    """Return, per tensor, 1 if it trains in a stage.

    Args:
        common: what the config's own rules select.
    """
    try:
        return bytes(overlay(stage.rules, tree, bytearray(common), budget))
    except PatternError as error:
        raise ConfigError(f"stage {stage.name}: {error.message}", error.hint) from None
