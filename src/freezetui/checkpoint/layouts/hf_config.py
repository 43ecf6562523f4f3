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
_MAX_ITEMS = 100
#: Arguments of timm's `create_model` that choose another model, or load from a file or a hub.
_LOADING = frozenset(
    {"model_name", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
)


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
        return {"label": f"timm {name}", "model": _of_timm(name, config)}
    return {}


def _of_timm(name: str, config: dict[str, Any]) -> ModelSpec:
    """What builds timm's model: `model_args` as its own loading takes them, the classes, the channels."""
    pretrained = config.get("pretrained_cfg", config)  # older files have one level
    size = pretrained.get("input_size") if isinstance(pretrained, dict) else None
    if not (
        isinstance(size, list) and len(size) == 3 and all(type(n) is int and 0 < n < 2**31 for n in size)
    ):
        size = []
    arguments: dict[str, Any] = {"model_name": name}
    if size and size[0] != 3:
        arguments["in_chans"] = size[0]
    if type(config.get("num_classes")) is int:
        arguments["num_classes"] = config["num_classes"]
    given = config.get("model_args")
    if isinstance(given, dict):
        plain = {key: value for key, value in given.items() if key.isidentifier() and _is_plain(value)}
        arguments |= {key: value for key, value in plain.items() if key not in _LOADING}
    if type(channels := arguments.get("in_chans")) is int and size and channels > 0:
        size = [channels, *size[1:]]
    return ModelSpec("timm:create_model", arguments, tuple(size))


def _is_plain(value: Any) -> bool:
    """Whether it is a number, a word, or a short list of them."""
    if isinstance(value, list):
        return len(value) <= _MAX_ITEMS and all(isinstance(item, bool | int | float) for item in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 200)


def _is_name(value: Any) -> bool:
    """Whether it is the name of a class, not a path."""
    return isinstance(value, str) and value.isidentifier() and len(value) < 200
