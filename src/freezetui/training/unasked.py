"""Warns of what trains although nobody asked for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import nn

from freezetui.freeze.name_map import NameMap
from freezetui.models.live_names import live_tensors
from freezetui.text import listed

#: Frames between a warning and the script's call of `FreezeConfig.apply`.
_FRAMES = 5


def warn_of_thawed(names: Sequence[str], rule: str) -> None:
    """Warn of parameters that were frozen, and train because no rule names them.

    Args:
        rule: how a rule names the first of them.
    """
    if len(names) == 1:
        said = "was frozen before and trains now: no rule freezes it. To keep it frozen"
    else:
        said = "were frozen before and train now: no rule freezes them. To keep the first frozen"
    text = f"{listed(names, most=1, longest=None)} {said}, add a rule: freeze: {rule}"
    warnings.warn(text, stacklevel=_FRAMES + 1)


def warn_of_base(model: nn.Module, names: NameMap) -> None:
    """Warn if the base model of an adapter trains too: PEFT freezes it, other code may not have yet."""
    rows = [row for row in live_tensors(model) if row.kind == "parameter" and row.tensor.requires_grad]
    base = [row.plain for row in rows if names.by_name[row.name].origin == "base"]
    if base:
        train = "train" if base[1:] else "trains"
        said = f"{listed(base, most=1, longest=None)} of the base model {train} too"
        why = "the checkpoint is an adapter, without the base model, whose parameters keep their flags"
        rule = f"Freeze the base model first, or add a rule: freeze: {base[0]}"
        warnings.warn(f"{said}: {why}. {rule}", stacklevel=_FRAMES)
