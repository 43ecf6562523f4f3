"""Follows an input through the loops of a forward, and keeps what is recorded of it."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import nn

from freezetui.models.inputs.forward_source import Path, Use
from freezetui.models.inputs.module_names import ModuleNames


class Reader(Protocol):
    """What collects the uses, over all functions that are read."""

    uses: dict[Path, Use]

    def use(self, path: Path) -> Use:
        """Return what is recorded of an input."""

    def read(self, owner: nn.Module, function: Any, origins: dict[str, Path], depth: int) -> None:
        """Read a function's body."""


class Loops(ModuleNames, ABC):
    """The loops of one function's body.

    Attributes:
        env: local name -> the input that it is made of.
    """

    def __init__(
        self, reader: Reader, owner: nn.Module, env: dict[str, Path], depth: int, called: str = "self"
    ) -> None:
        super().__init__(owner, called)
        self.reader, self.env, self.depth = reader, env, depth

    @abstractmethod
    def origin(self, node: ast.expr | None) -> Path | None:
        """Return the input that an expression is made of; None if a layer lies between, or none is."""

    @abstractmethod
    def passed(self, module: nn.Module, place: int | str, value: ast.expr) -> None:
        """Record that a module reads an input, or follow it into the module's own forward."""

    def loop(self, target: ast.expr, over: ast.expr) -> None:
        """Follow `for layer in self.layers`, `for image in images` and their `enumerate` and `zip`."""
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.args:
            if over.func.id == "enumerate" and isinstance(target, ast.Tuple):
                self.counting(target.elts[0], [over.args[0]])
                return self.loop(target.elts[1], over.args[0])
            if over.func.id == "zip" and isinstance(target, ast.Tuple):
                for one in target.elts:
                    self.counting(one, over.args)
                for one, other in zip(target.elts, over.args, strict=False):
                    self.loop(one, other)
                return None
        strings = self.texts(over)
        if strings and isinstance(target, ast.Name):
            self.strings[target.id] = strings
            return None
        method = over.func if isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute) else None
        if method is not None and method.attr == "items" and isinstance(target, ast.Tuple):
            self.loop(target.elts[0], method.value)
            among = self.module(method.value)
            if isinstance(among, nn.ModuleDict) and all(isinstance(e, ast.Name) for e in target.elts):
                key, each = (e.id for e in target.elts if isinstance(e, ast.Name))
                self.keyed[each] = key, among
            values = ast.Call(ast.Attribute(method.value, "values", ast.Load()), [], [])
            return self.loop(target.elts[1], values)
        module = self.module(over)
        if isinstance(target, ast.Name):
            if module is not None:
                first = next(iter(module.children()), None)
                if first is not None:
                    self.modules[target.id] = first
                return None
            origin = self.origin(over)
            if origin:
                self.reader.use(origin).listed = True
                self.env[target.id] = origin
        return None

    def counting(self, target: ast.expr, over: list[ast.expr]) -> None:
        """Record that a loop's variable runs beside a list of modules."""
        among = next((m for m in map(self.module, over) if isinstance(m, nn.ModuleList)), None)
        if isinstance(target, ast.Name) and among is not None:
            self.counted[target.id] = list(among)

    def one_by_one(self, module: nn.Module, value: ast.expr) -> bool:
        """Record that each module of a list reads one part of an input; whether it is so."""
        by = value.slice if isinstance(value, ast.Subscript) else value
        modules = self.counted.get(by.id, []) if isinstance(by, ast.Name) else []
        origin = self.origin(value.value if isinstance(value, ast.Subscript) else value)
        if origin is None or len(modules) < 2 or module is not modules[0]:
            return False
        use = self.reader.use(origin)
        use.elements, use.listed = len(modules), False
        for i, each in enumerate(modules):
            self.reader.use((*origin, i))
            self.env[""] = (*origin, i)
            self.passed(each, 0, ast.Name("", ast.Load()))
        return True
