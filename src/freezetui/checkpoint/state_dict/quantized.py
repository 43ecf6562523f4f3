"""Reads the packed tensors of torch's quantized modules, which are neither parameters nor buffers."""

from __future__ import annotations

from typing import Any

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT

_KEY = "_packed_params"
_MAX_DEPTH = 8
_MAX = 1000


def is_packed(name: str, value: Any) -> bool:
    """Whether an entry of a state_dict or a module has packed tensors: a TorchBind object, or a tuple."""
    if isinstance(value, Opaque):
        return type(value).__module__ == "torch" and type(value).__name__ == "ScriptObject"
    return type(value) is tuple and name.endswith(_KEY)


def packed_tensors(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return each tensor inside by name, `name.0`, `name.1` and so on, in the order of the file."""
    found: list[Any] = []
    stack: list[tuple[int, Any]] = [(0, value)]
    visits = 0
    while stack and visits < _MAX:
        depth, item = stack.pop()
        visits += 1
        if type(item) in REBUILT:
            found.append(item)
        elif depth < _MAX_DEPTH:
            inner = item.state if isinstance(item, Opaque) else item
            if isinstance(inner, tuple | list):
                stack += [(depth + 1, part) for part in reversed(inner[:_MAX])]
    return [(f"{name}.{index}", tensor) for index, tensor in enumerate(found)]
