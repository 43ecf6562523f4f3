"""What a config selects in a checkpoint, refused where the checkpoint is not the one it was saved for."""

from __future__ import annotations

import msgspec

from freezetui.config.schema import ConfigData
from freezetui.config.sync import differs, plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.tree import ParamTree


def selected(config: ConfigData, tree: ParamTree, stage: str | None = None) -> bytes:
    """Return what the config selects in a stage: per tensor, 1 to train and 0 to freeze.

    A rule may match nothing if the config records what is frozen: it may name what only the live model has.

    Raises:
        ConfigError: the rules do not freeze what the config records, or it does not have this stage.
        PatternError: a rule matches nothing, and nothing is recorded.
    """
    recorded = config.expect_for(stage) is not None
    if difference := differs(config, stage, tree.tensors, lenient=recorded):
        raise ConfigError(
            f"the config does not fit the checkpoint: {difference}.",
            "Save the config again for this checkpoint, or pass the one that it was saved for.",
        )
    return plan_from_config(msgspec.structs.replace(config, rules=config.rules_for(stage)), tree).mask
