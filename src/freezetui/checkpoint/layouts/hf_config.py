"""Reads the architecture from the `config.json` beside a checkpoint of transformers, timm or diffusers."""

from __future__ import annotations

from typing import Any

import msgspec

from freezetui.checkpoint.sources.base import Source
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError
from freezetui.model_spec import ModelSpec

_NAME = "config.json"
_MAX_BYTES = 10_000_000


def with_architecture(checkpoint: Checkpoint, directory: Source) -> Checkpoint:
    """Return the checkpoint with the architecture that `config.json` names, if it names one."""
    try:
        with directory.child(_NAME).open() as opened:
            config = msgspec.json.decode(opened.file.read(min(opened.size, _MAX_BYTES)))
    except (CheckpointError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return checkpoint
    return msgspec.structs.replace(checkpoint, **_fields(config)) if isinstance(config, dict) else checkpoint


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a Checkpoint that the config determines."""
    names, name = config.get("architectures"), config.get("architecture")
    if isinstance(names, list) and names and _is_name(names[0]):
        return {"label": f"transformers {names[0]}", "model": ModelSpec(f"transformers:{names[0]}")}
    if _is_name(config.get("_class_name")):
        return {"label": f"diffusers {config['_class_name']}"}
    if isinstance(name, str) and _is_name(name.replace(".", "_").replace("-", "_")):
        arguments: dict[str, Any] = {"model_name": name}
        if type(config.get("num_classes")) is int:
            arguments["num_classes"] = config["num_classes"]
        return {"label": f"timm {name}", "model": ModelSpec("timm:create_model", arguments)}
    return {}


def _is_name(value: Any) -> bool:
    """Whether it is the name of a class, not a path."""
    return isinstance(value, str) and value.isidentifier() and len(value) < 200
