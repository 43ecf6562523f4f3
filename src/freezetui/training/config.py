"""FreezeConfig as training scripts use it: the file's contents, and what it does to a live model."""

from __future__ import annotations

from typing import Any

from torch import nn

from freezetui.config import schema as file
from freezetui.training.apply import Applied, apply, parameter_groups


class FreezeConfig(file.FreezeConfig, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which parameters are frozen, and for which model; `load` it, then `apply` it."""

    def apply(self, model: nn.Module, stage: str | None = None, strict: bool = True) -> Applied:
        """Freeze and unfreeze the parameters of `model`; see `freezetui.training.apply.apply`."""
        return apply(self, model, stage, strict)

    def parameter_groups(
        self, model: nn.Module, lr: float, weight_decay: float | None = None, stage: str | None = None
    ) -> list[dict[str, Any]]:
        """What the optimizer gets; see `freezetui.training.apply.parameter_groups`."""
        return parameter_groups(self, model, lr, weight_decay, stage)
