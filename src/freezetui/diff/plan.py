"""Determines what a config freezes in the checkpoint that training began with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.codec import read_config
from freezetui.config.schema import ConfigData
from freezetui.config.sync import plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FROZEN, UNTRAINABLE, FreezePlan
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
    match = plan_from_config(config, tree)
    if match.differences:
        raise ConfigError(
            f"{path} does not fit {before.source}: {'; '.join(match.differences[:3])}.",
            "Pass the config that training began with, and as BEFORE the checkpoint that it was saved for.",
        )
    stages: list[str | None] = [stage] if stage is not None else [each.name for each in config.stages]
    masks = [_mask(config, name, tree) for name in stages or [None]]
    trains = bytes(map(max, zip(*masks, strict=True)))
    states = FreezePlan(tree, trains).states
    frozen = {
        tensor.name: None if state == UNTRAINABLE else state == FROZEN
        for tensor, state in zip(tree.tensors, states, strict=True)
    }
    return Plan(str(path), stage or "", frozen, config.norm_statistics == "freeze")


def _mask(config: ConfigData, stage: str | None, tree: ParamTree) -> bytes:
    """Return, per tensor, 1 if it trains in a stage; with None, under the config's own rules."""
    rules = config.rules_for(stage)
    whole = msgspec.structs.replace(config, rules=rules, expect=None, stages=())
    match = plan_from_config(whole, tree)
    if not match.complete:
        raise ConfigError(f"stage {stage}: {'; '.join(match.differences[:3])}.", "Correct the stage's rules.")
    return match.mask
