"""Which layer reads which input: found in the source of a model's own forward, without running it."""

from __future__ import annotations

import ast
from contextlib import suppress
from inspect import Parameter, signature
from typing import Any

from torch import nn

from freezetui.models.inputs.forward_expressions import Expressions
from freezetui.models.inputs.forward_source import Path, Use, body, shape_of
from freezetui.models.inputs.records import makers_of

_MAX_DEPTH = 12


def uses_of(model: nn.Module) -> dict[Path, Use]:
    """Return what the model's forward does with its inputs; empty where there is no source."""
    reader = _Reader()
    for name in makers_of(model):
        reader.use((name,)).attributes = True
    with suppress(TypeError, ValueError):
        for name, parameter in signature(model.forward).parameters.items():
            if parameter.kind is Parameter.VAR_POSITIONAL:
                reader.use((name,)).several = True
    with suppress(Exception):  # an attribute that the source names may run the user's code
        reader.read(model, model.forward, {}, 0)
    for use in list(reader.uses.values()):  # what is concatenated is read by the same layer
        first = reader.uses.get(use.joined[0]) if use.joined else None
        if first is not None and not use.layers:
            use.layers = list(first.layers)
    return reader.uses


class _Reader:
    """Follows names through assignments; a call of a module ends a path, a call of a method follows it."""

    def __init__(self) -> None:
        self.uses: dict[Path, Use] = {}

    def use(self, path: Path) -> Use:
        return self.uses.setdefault(path, Use())

    def read(self, owner: nn.Module, function: Any, origins: dict[str, Path] | None, depth: int) -> None:
        """Read a function's body.

        Args:
            owner: the module that is `self` in it.
            origins: parameter -> the input that is passed there; {} at the top, where each is one itself.
        """
        found = body(function)
        if found is None or depth > _MAX_DEPTH:
            return
        env: dict[str, Path] = (
            {name: (name,) for name in found.names} if origins == {} else dict(origins or {})
        )
        _Statements(self, owner, env, depth, found.owner or "self").block(found.statements)


class _Statements(Expressions):
    """The names of one function's body."""

    def block(self, statements: list[ast.stmt]) -> None:
        """Read statements in order; both branches of a condition."""
        for statement in statements:
            if isinstance(statement, ast.Assign):
                self.assign(statement.targets[0], statement.value)
            elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)) and statement.value is not None:
                before = self.origin(statement.target) if isinstance(statement, ast.AugAssign) else None
                origin = self.origin(statement.value)
                if isinstance(statement.target, ast.Name) and (before or origin):
                    self.env[statement.target.id] = before or origin or ()
            elif isinstance(statement, ast.For):
                self.loop(statement.target, statement.iter)
                self.block(statement.body)
            elif isinstance(statement, (ast.If, ast.While)):
                if isinstance(statement.body[0], ast.Raise):
                    self.ranked(statement.test, ast.NotEq)
                self.origin(statement.test)
                self.block(statement.body)
                self.block(statement.orelse)
            elif isinstance(statement, (ast.With, ast.Try)):
                self.block(statement.body)
            elif isinstance(statement, (ast.Expr, ast.Return)) and statement.value is not None:
                self.origin(statement.value)
            elif isinstance(statement, ast.Assert):
                self.ranked(statement.test, ast.Eq)
                self.origin(statement.test)

    def ranked(self, test: ast.expr, wanted: type[ast.cmpop]) -> None:
        """Record how many dimensions a test demands: `assert x.dim() == 3`."""
        for node in ast.walk(test):
            if not (isinstance(node, ast.Compare) and isinstance(node.ops[0], wanted)):
                continue
            value, left = node.comparators[0], node.left
            self.sized(left, value)
            tensor: ast.expr | None = None
            if isinstance(left, ast.Attribute) and left.attr == "ndim":
                tensor = left.value
            elif (
                isinstance(left, ast.Call)
                and isinstance(left.func, ast.Attribute)
                and left.func.attr == "dim"
            ):
                tensor = left.func.value
            elif isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "len":
                tensor = shape_of(left.args[0]) if left.args else None
            origin = self.origin(tensor)
            if origin and isinstance(value, ast.Constant) and isinstance(value.value, int):
                self.reader.use(origin).rank = value.value

    def sized(self, left: ast.expr, value: ast.expr) -> None:
        """Record which size a test demands: `assert x.shape[-1] == self.width`."""
        shape = shape_of(left.value) if isinstance(left, ast.Subscript) else None
        origin = self.origin(shape)
        if origin is None or not isinstance(left, ast.Subscript):
            return
        owner = self.module(value.value) if isinstance(value, ast.Attribute) else None
        wanted = getattr(owner, value.attr, None) if isinstance(value, ast.Attribute) else None
        with suppress(ValueError):
            axis = ast.literal_eval(left.slice)
            wanted = wanted if isinstance(wanted, int) else ast.literal_eval(value)
            if isinstance(axis, int) and isinstance(wanted, int):
                self.reader.use(origin).sizes[axis] = wanted

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """Follow an assignment: of a value, of parts, of a shape's dimensions."""
        if isinstance(target, ast.Tuple):
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                for one, other in zip(target.elts, value.elts, strict=True):
                    self.assign(one, other)
                return
            shape = shape_of(value)
            starred = any(isinstance(item, ast.Starred) for item in target.elts)
            if shape is not None:
                origin = self.origin(shape)
                if origin and not starred:
                    self.reader.use(origin).rank = len(target.elts)
                return
            origin = self.origin(value)
            if origin and isinstance(value, (ast.Name, ast.Subscript)) and not starred:
                self.reader.use(origin).elements = len(target.elts)
                for i, item in enumerate(target.elts):
                    if isinstance(item, ast.Name):
                        self.env[item.id] = (*origin, i)
                        self.reader.use((*origin, i)).alias = item.id
            return
        module = self.module(value)
        if isinstance(target, ast.Name):
            if module is not None:
                self.modules[target.id] = module
                return
            origin = self.origin(value)
            if origin:
                self.env[target.id] = origin
            else:
                self.env.pop(target.id, None)
        else:
            self.origin(value)
