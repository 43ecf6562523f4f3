"""Flattens a state_dict of nested dicts, as written by Megatron."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

_MAX_DEPTH = 16
#: Limit on tensors and dicts; a shared dict counts each time.
_MAX_VISITED = 1_000_000
#: Limit on the characters of all names.
_MAX_NAMES = 2**27
#: A dict under one of these is another copy of the model, not a part of it.
_COPIES = frozenset(
    ("state_dict", "model_state_dict", "model", "module", "net", "params", "params_ema", "params-ema", "ema")
)


def nested_tensors(value: Any, kinds: Set[type]) -> dict[str, Any]:
    """Return the tensors of nested dicts by dotted name; {} if `value` is not nested dicts of tensors.

    Args:
        kinds: what counts as a tensor. If there is anything else besides None and empty dicts, the dicts are
            not parts of one model.
    """
    if not isinstance(value, dict) or not any(isinstance(item, dict) and item for item in value.values()):
        return {}
    found: dict[str, Any] = {}
    stack: list[tuple[str, int, Any]] = [("", 0, value)]
    visited = spent = 0
    while stack:
        prefix, depth, level = stack.pop()
        visited += len(level)
        spent += len(level) * len(prefix)
        if depth > _MAX_DEPTH or visited > _MAX_VISITED or spent > _MAX_NAMES:
            return {}
        inner: list[tuple[str, int, Any]] = []
        for name, item in level.items():
            if type(name) is not str or name in _COPIES:
                return {}
            if type(item) in kinds:
                found[prefix + name] = item
            elif isinstance(item, dict):
                inner.append((f"{prefix}{name}.", depth + 1, item))
            elif item is not None:
                return {}
        stack += reversed(inner)
    return found
