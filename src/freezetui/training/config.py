"""FreezeConfig, the API for training scripts: loads a config and applies it to a live model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from freezetui.checkpoint.sources.urls import is_url
from freezetui.config.codec import read_config_as, write_config
from freezetui.config.schema import ConfigData
from freezetui.models.live_names import require_module
from freezetui.training.apply import Applied, apply, parameter_groups


class FreezeConfig(ConfigData, frozen=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """Which parameters are frozen, and for which model; `load` it, then `apply` it."""

    @classmethod
    def load(cls, path: str | Path) -> FreezeConfig:
        """Read a `.freeze.yaml` or `.json` file.

        Raises:
            ConfigError: the file is not a valid config; names the file, the line and the valid values.
        """
        config = read_config_as(cls, Path(path))
        config.__dict__["_directory"] = Path(path).parent  # the checkpoint's path is relative to it
        return config

    def save(self, path: str | Path) -> None:
        """Write the config atomically; comments in an existing YAML file are kept.

        Raises:
            ConfigError: the file cannot be written, or the existing file is not a config.
        """
        write_config(Path(path), self)

    def apply(
        self,
        model: nn.Module,
        stage: str | None = None,
        strict: bool = True,
        checkpoint: str | Path | None = None,
        root: str = "",
    ) -> Applied:
        """Freeze and unfreeze the parameters of `model`; see `freezetui.training.apply.apply`."""
        require_module(model, "apply")
        return apply(self._located(), model, stage, strict, checkpoint, root)

    def parameter_groups(
        self,
        model: nn.Module,
        lr: float,
        weight_decay: float | None = None,
        stage: str | None = None,
        checkpoint: str | Path | None = None,
        root: str = "",
    ) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups; see `freezetui.training.apply.parameter_groups`."""
        require_module(model, "parameter_groups")
        return parameter_groups(self._located(), model, lr, weight_decay, stage, checkpoint, root)

    def _located(self) -> ConfigData:
        """Return the config with its checkpoint's path as seen from here, not from the config's directory."""
        path, directory = self.model.checkpoint, self.__dict__.get("_directory")
        if not path or is_url(path) or directory is None:
            return self
        model = msgspec.structs.replace(self.model, checkpoint=str(directory / path))
        return msgspec.structs.replace(self, model=model)
