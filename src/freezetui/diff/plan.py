"""Determines what a config freezes in the checkpoint that training began with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.codec import read_config
from freezetui.config.schema import Stage
from freezetui.config.sync import plan_from_config
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
    """

    config: str
    stage: str
    frozen: dict[str, bool | None]
    keeps_statistics: bool


def read_plan(path: Path, stage: str | None, before: Checkpoint) -> Plan:
    """Return what the config at `path` freezes in `before`.

    Args:
        stage: of its schedule; None selects what is frozen in all stages.

    Raises:
        ConfigError: the config cannot be read, does not fit the checkpoint, or has no such stage.
    """
    config = read_config(path)
    tree = ParamTree(before.tensors)
    budget = Budget()  # one for the patterns of all stages
    match = plan_from_config(config, tree, budget)
    if match.differences:
        raise ConfigError(
            f"{path} does not fit {before.source}: {'; '.join(match.differences[:3])}.",
            "Pass the config that training began with, and as BEFORE the checkpoint that it was saved for.",
        )
    stages = [config.stage(stage)] if stage is not None else config.stages
    masks = [_mask(each, tree, match.mask, budget) for each in stages] or [match.mask]
    trains = bytes(map(max, zip(*masks, strict=True)))
    states = FreezePlan(tree, trains).states
    frozen = {
        tensor.name: None if state == UNTRAINABLE else state == FROZEN
        for tensor, state in zip(tree.tensors, states, strict=True)
    }
    return Plan(str(path), stage or "", frozen, config.norm_statistics == "freeze")


def _mask(stage: Stage, tree: ParamTree, common: bytes, budget: Budget) -> bytes:
    """Return, per tensor, 1 if it trains in a stage.

    Args:
        common: what the config's own rules select.
    """
    try:
        return bytes(overlay(stage.rules, tree, bytearray(common), budget))
    except PatternError as error:
        raise ConfigError(f"stage {stage.name}: {error.message}", error.hint) from None
