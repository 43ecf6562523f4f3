"""A config as plain values, with its keys in the documented order."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from freezetui.config.bounds import number
from freezetui.config.schema import VERSION, ConfigData, ModelSection
from freezetui.freeze.rules import Rule

FORMAT_KEY = "freezetui"


def plain(config: ConfigData) -> dict[str, Any]:
    """Return the config as plain values, with keys in the documented order."""
    text = json.dumps(msgspec.to_builtins(config))
    fields = json.loads(text, parse_int=number, parse_constant=number)
    found: dict[str, Any] = {FORMAT_KEY: VERSION, **fields}
    found["model"] = _ordered(found.get("model", {}), ModelSection)
    found.setdefault("default", config.default)
    found["rules"] = [_written(rule) for rule in config.rules]
    found.setdefault("norm_statistics", config.norm_statistics)
    for stage, section in zip(config.stages, found.get("stages", ()), strict=True):
        if stage.rules:
            section["rules"] = [_written(rule) for rule in stage.rules]
    return _ordered({key: value for key, value in found.items() if value not in (None, {})}, ConfigData)


def keys_of(section: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the keys of a section, in the order in which they are saved."""
    fields = section.__struct_fields__
    if section is ConfigData:
        return (FORMAT_KEY, *fields)
    # A subclass's fields follow those of ModelSpec; in a file the checkpoint comes first.
    return ("checkpoint", *(f for f in fields if f != "checkpoint")) if section is ModelSection else fields


def _ordered(plain: dict[str, Any], section: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: plain[key] for key in keys_of(section) if key in plain}


def _written(rule: Rule) -> dict[str, str]:
    return {rule.action: rule.pattern}
