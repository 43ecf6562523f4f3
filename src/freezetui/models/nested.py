"""Changes the tensors of nested values: tuples, lists, dicts, named tuples, dataclasses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from freezetui.models.inputs.draws import Batch


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the same nested value with what `change` makes of each tensor; a mapping becomes a dict."""

    def inside(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(inside, value))
        if isinstance(value, (tuple, list)):
            return type(value)(map(inside, value))
        if isinstance(value, Mapping):
            items = {name: inside(item) for name, item in value.items()}
            return Batch(items) if isinstance(value, Batch) else items
        if is_dataclass(value) and not isinstance(value, type):
            made = copy.copy(value)
            for each in fields(value):
                object.__setattr__(made, each.name, inside(getattr(value, each.name)))
            return made
        return value

    return inside(value)
