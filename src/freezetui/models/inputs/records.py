"""Inputs that are objects with attributes: dataclasses, named tuples, batches of graphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, get_args, get_type_hints

from torch import nn

#: What makes an object, given its attributes by name.
Maker = Callable[..., Any]


def makers_of(model: nn.Module) -> dict[str, Maker]:
    """Return parameter of the forward -> what makes its object, for dataclasses and named tuples."""
    try:
        hints = get_type_hints(model.forward)
    except Exception:  # an annotation may name what is not there
        return {}
    found: dict[str, Maker] = {}
    for name, hint in hints.items():
        for kind in (hint, *get_args(hint)):
            if inspect.isclass(kind) and name != "return" and (names := _fields(kind)):
                found.setdefault(name, partial(_made, kind, names))
    return found


def _fields(kind: type[Any]) -> tuple[str, ...]:
    """Return the names that a record is made with; () if it is not one."""
    if is_dataclass(kind):
        return tuple(each.name for each in fields(kind) if each.init)
    return tuple(getattr(kind, "_fields", ())) if issubclass(kind, tuple) else ()


def _made(kind: Any, names: tuple[str, ...], **given: Any) -> Any:
    return kind(**{name: given.get(name) for name in names})
