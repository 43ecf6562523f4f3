"""Collects the tensors that a forward pass returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def tensors_of(output: Any) -> list[Tensor]:
    """Return every floating point or complex tensor of a nested output, in order, each once.

    Looks into mappings, sequences and dataclasses, and so into the outputs of transformers.
    """
    found: dict[int, Tensor] = {}
    entered: set[int] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Tensor):
            if value.is_floating_point() or value.is_complex():
                found.setdefault(id(value), value)
            return
        if not isinstance(value, (Mapping, list, tuple)) and not is_dataclass(value):
            return
        if id(value) in entered:
            return
        entered.add(id(value))
        for item in _items(value):
            walk(item)

    walk(output)
    return list(found.values())


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    return [getattr(value, field.name, None) for field in fields(value)]
