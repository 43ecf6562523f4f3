"""What the expressions of a forward name: modules, parameters and lists of strings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


class ModuleNames:
    """The modules that names stand for in one function.

    Attributes:
        owner: the module that is `self`.
        called: what the function calls it.
        modules: local name -> module.
        strings: local name -> the strings that it takes one after the other.
        bound: local name -> the string that it is at the moment.
        keyed: local name -> the name of a module's key, and the modules by key.
        counted: local name -> the modules that it counts, or that its values belong to one by one.
    """

    def __init__(self, owner: nn.Module, called: str = "self") -> None:
        self.owner, self.called = owner, called
        self.modules: dict[str, nn.Module] = {}
        self.strings: dict[str, list[str]] = {}
        self.bound: dict[str, str] = {}
        self.keyed: dict[str, tuple[str, nn.ModuleDict]] = {}
        self.counted: dict[str, list[nn.Module]] = {}

    def weight(self, node: ast.expr) -> Tensor | None:
        """Return the parameter that `self.name` is; None if it is not one."""
        if not isinstance(node, ast.Attribute):
            return None
        found = getattr(self.module(node.value), node.attr, None)
        return found if isinstance(found, Tensor) and not nn.parameter.is_lazy(found) else None

    def texts(self, node: ast.expr) -> list[str]:
        """Return the strings that an expression lists, or a dict's keys; [] if it has none."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
            node = node.func.value
        if isinstance(node, (ast.Tuple, ast.List)):
            values: Any = [item.value for item in node.elts if isinstance(item, ast.Constant)]
        elif isinstance(node, ast.Attribute):
            owner = self.module(node.value)
            values = getattr(owner, node.attr, None) if owner is not None else None
        else:
            return []
        if isinstance(values, (nn.ModuleDict, dict)):
            values = list(values.keys())
        is_list = isinstance(values, (list, tuple)) and all(isinstance(each, str) for each in values)
        return list(values) if is_list else []

    def module(self, node: ast.expr) -> nn.Module | None:
        """Return the module that an expression names; of a list of modules the first."""
        if isinstance(node, ast.Name):
            counter, among = self.keyed.get(node.id, ("", nn.ModuleDict()))
            if self.bound.get(counter, "") in among:
                return among[self.bound[counter]]
            return self.owner if node.id == self.called else self.modules.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.module(node.value)
            found = getattr(base, node.attr, None) if base is not None else None
            return found if isinstance(found, nn.Module) else None
        if isinstance(node, ast.Subscript):
            base = self.module(node.value)
            if isinstance(base, nn.ModuleDict):
                key: Any = node.slice.value if isinstance(node.slice, ast.Constant) else None
                key = self.bound.get(node.slice.id) if isinstance(node.slice, ast.Name) else key
                return base[key] if isinstance(key, str) and key in base else next(iter(base.values()), None)
            if isinstance(base, (nn.ModuleList, nn.Sequential)):
                return next(iter(base), None) if not isinstance(node.slice, ast.Slice) else base
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("values",)
        ):
            return self.module(node.func.value)
        return None

    def siblings(self, module: nn.Module) -> Iterator[nn.Module]:
        """Yield the modules beside this one, itself included, from it on."""
        for parent in self.owner.modules():
            children = list(parent.children())
            for i, child in enumerate(children):
                if child is module:
                    yield from children[i:]
                    return
