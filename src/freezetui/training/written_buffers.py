"""Finds the buffers that a module's own code writes only while it trains: statistics under any name."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import FunctionType

from torch import nn

#: Functions that write the tensors they are given; so does all that ends in an underscore.
_WRITERS = ("batch_norm", "instance_norm", "update", "ema", "inplace", "moving_average")
#: Methods that return the same memory.
_VIEWS = ("detach", "view", "view_as", "reshape", "flatten", "squeeze", "unsqueeze", "t", "narrow")
#: Methods that are called before or between forward passes.
_SETUP = ("__init__", "__setstate__", "train", "eval", "extra_repr")


def written_in_training(module: nn.Module) -> tuple[str, ...]:
    """Return the module's own buffers that the code of its class writes depending on `self.training`.

    Only where its code says so is a module treated as a norm: one that merely has buffers and reads
    `self.training` may do so for its dropout, which has to stay. The code is parsed, not run. Counters are
    left out: they do not enter what the module computes.
    """
    buffers = {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
    state = [name for name, buffer in buffers.items() if buffer.is_floating_point() or buffer.numel() > 1]
    cls: type = type(module)
    return tuple(name for name in state if name in _written(cls))


@lru_cache(maxsize=4096)
def _written(cls: type) -> frozenset[str]:
    """Return the names of attributes that the class's methods write depending on `self.training`."""
    methods = dict(_methods(cls))
    if not any(_mentions_training(function) for function in methods.values()):
        return frozenset()
    scans = {name: scan for name, function in methods.items() if (scan := _scanned(function)) is not None}
    gated = {name for scan in scans.values() for name in scan.gated_calls}
    while True:  # a method that is called only while it trains, by one that is itself
        more = {name for method in gated & scans.keys() for name in scans[method].calls}
        if more <= gated:
            break
        gated |= more
    return frozenset(
        name
        for method, scan in scans.items()
        for name in (scan.written | scan.gated if method in gated else scan.gated)
    )


def _methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions of the class and its bases below nn.Module, the nearest one of each name."""
    seen: set[str] = set(_SETUP)
    for base in cls.__mro__:
        if base is nn.Module:
            return
        for name, value in vars(base).items():
            function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
            if name not in seen and isinstance(function, FunctionType):
                seen.add(name)
                yield name, function


def _mentions_training(function: FunctionType) -> bool:
    return "training" in function.__code__.co_names


def _scanned(function: FunctionType) -> _Scan | None:
    """Return what a function does; None where its source is not at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, ValueError):
        return None
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    scan = _Scan()
    scan.block(tree.body, False)
    return scan


class _Scan:
    """What one method writes and calls on `self`, in all, and depending on `self.training`."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.gated: set[str] = set()
        self.calls: set[str] = set()
        self.gated_calls: set[str] = set()
        self._aliases: dict[str, set[str]] = {}
        self._derived: set[str] = set()

    def block(self, statements: Iterable[ast.stmt], gated: bool) -> None:
        """Scan statements; `gated` tells whether they run depending on `self.training`."""
        for statement in statements:
            if isinstance(statement, ast.If):
                inner = gated or self._depends(statement.test)
                self.block(statement.body, inner)
                self.block(statement.orelse, inner)
                gated = inner if isinstance(statement.body[-1], ast.Return | ast.Raise) else gated
                continue
            nested = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            nested += [handler.body for handler in getattr(statement, "handlers", [])]
            if any(nested):
                for statements_inside in nested:
                    self.block(statements_inside, gated)
            else:
                self._simple(statement, gated or self._depends(statement))

    def _depends(self, node: ast.AST) -> bool:
        return any(
            (isinstance(part, ast.Attribute) and part.attr == "training")
            or (isinstance(part, ast.Name) and part.id in self._derived)
            for part in ast.walk(node)
        )

    def _simple(self, statement: ast.stmt, gated: bool) -> None:
        found = {name for part in ast.walk(statement) for name in self._writes(part)}
        functions = [part.func for part in ast.walk(statement) if isinstance(part, ast.Call)]
        called = {f.attr for f in functions if isinstance(f, ast.Attribute) and _is_self(f.value)}
        self.written |= found
        self.calls |= called
        if gated:
            self.gated |= found
            self.gated_calls |= called
        if isinstance(statement, ast.Assign):
            self._remember(statement)

    def _remember(self, statement: ast.Assign) -> None:
        """Note which local names stand for attributes, and which depend on `self.training`."""
        for target in statement.targets:
            targets = target.elts if isinstance(target, ast.Tuple) else [target]
            value = statement.value
            values = value.elts if isinstance(value, ast.Tuple) else [value] * len(targets)
            for one, of in zip(targets, values, strict=False):
                if isinstance(one, ast.Name):
                    self._aliases[one.id] = set(self._bases(of))
                    if self._depends(of):
                        self._derived.add(one.id)

    def _writes(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    # A plain local name is bound anew, not written.
                    if not isinstance(one, ast.Name) or isinstance(node, ast.AugAssign):
                        yield from self._bases(one)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            in_place = name.endswith("_") and not name.endswith("__")
            if in_place and isinstance(node.func, ast.Attribute):
                yield from self._bases(node.func.value)
            if in_place or any(word in name.lower() for word in _WRITERS):
                for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                    yield from self._bases(argument)
            for keyword in node.keywords:
                if keyword.arg == "out":
                    yield from self._bases(keyword.value)
            if name == "setattr":
                yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))

    def _bases(self, node: ast.expr) -> Iterator[str]:
        """Yield the attributes of `self` whose memory an expression stands for."""
        if isinstance(node, ast.Attribute):
            if _is_self(node.value):
                yield node.attr
            elif node.attr in ("data", "T"):
                yield from self._bases(node.value)
        elif isinstance(node, ast.Name):
            yield from self._aliases.get(node.id, ())
        elif isinstance(node, ast.Subscript | ast.Starred):
            yield from self._bases(node.value)
        elif isinstance(node, ast.List | ast.Tuple):
            for element in node.elts:
                yield from self._bases(element)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _VIEWS or node.func.attr.endswith("_"):
                yield from self._bases(node.func.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            yield from (str(a.value) for a in node.args[1:2] if isinstance(a, ast.Constant))


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
