"""Finds the tensors that a module's own code writes only while it trains: statistics under any name."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType
from typing import Literal

from torch import nn

from freezetui.checkpoint.types import AVERAGES, REWRITTEN

#: When a statement runs.
Mode = Literal["any", "train", "eval"]

#: Functions that write the tensors they are given; so does all that ends in an underscore.
_WRITERS = re.compile(r"update|inplace|moving_average|(?:^|_)ema(?:_|$)")
#: Functions that write their second and third argument.
_NORMS = ("batch_norm", "instance_norm")
#: Methods that return the same memory.
_VIEWS = ("detach", "view", "view_as", "reshape", "flatten", "squeeze", "unsqueeze", "t", "narrow")
#: Base classes of these have many methods, and none that writes statistics under a name of its own.
_LIBRARIES = (
    *("builtins.", "torch.", "lightning.", "pytorch_lightning."),
    *("transformers.modeling_utils.", "transformers.generation.", "transformers.integrations."),
)
#: Methods that are called before or between forward passes.
_SETUP = ("__init__", "__setstate__", "train", "eval", "extra_repr")


def written_in_training(module: nn.Module) -> tuple[str, ...]:
    """Return the tensors that the code of the module's class writes depending on `self.training`.

    These are its own buffers and frozen parameters, and buffers of its children, as `child.name`. Only where
    its code says so is a module treated as a norm: one that merely has buffers and reads `self.training` may
    do so for its dropout, which has to stay. The code is parsed, not run. Counters are left out: they do not
    enter what the module computes.
    """
    cls: type = type(module)
    written, calls = _written(cls)
    found = [name for name in _state(module) if name in written]
    for name, child in module._modules.items():
        if child is not None:
            kind: type = type(child)
            methods = [method for called, method in calls if called == name]
            by_child = {tensor for method in methods for tensor in _written_by(kind, method)}
            own = (tensor for tensor in _state(child) if tensor in by_child and tensor not in REWRITTEN)
            found += [f"{name}.{tensor}" for tensor in own]
            found += [f"{name}.{tensor}" for tensor in _state(child) if f"{name}.{tensor}" in written]
    return tuple(dict.fromkeys(found))


def _state(module: nn.Module) -> list[str]:
    """Return the names of a module's own tensors that may be statistics."""
    tensors = {**dict(module._buffers.items()), **dict(module._parameters.items())}
    return [
        name
        for name, tensor in tensors.items()
        if tensor is not None
        and not tensor.requires_grad
        and (tensor.is_floating_point() or tensor.numel() > 1)
    ]


@lru_cache(maxsize=4096)
def _written(cls: type) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Return the attributes that the class writes, and the children's methods it calls, to train only."""
    methods = dict(_methods(cls))
    if not any(_mentions_training(function) for function in methods.values()):
        return frozenset(), frozenset()
    scans = {name: scan for name, function in methods.items() if (scan := _scanned(function)) is not None}
    gated = _reached(scans, {name for scan in scans.values() for name in scan.gated_calls})
    written = {name for scan in scans.values() for name in scan.gated}
    calls = {call for scan in scans.values() for call in scan.gated_child_calls}
    for method in gated & scans.keys():
        written |= scans[method].written
        calls |= scans[method].child_calls
    # In eval, what is written then would be written at every step.
    only_in_eval = {name for scan in scans.values() for name in scan.in_eval}
    return frozenset(written - only_in_eval), frozenset(calls)


@lru_cache(maxsize=4096)
def _written_by(cls: type, method: str) -> frozenset[str]:
    """Return the attributes that a method writes, and those that it calls."""
    scans = {name: scan for name, function in _methods(cls) if (scan := _scanned(function)) is not None}
    reached = _reached(scans, {method}) & scans.keys()
    return frozenset(name for each in reached for name in scans[each].written)


def _reached(scans: Mapping[str, _Scan], methods: set[str]) -> set[str]:
    """Return these methods and all that they call on `self`, one through another."""
    while True:
        more = {name for method in methods & scans.keys() for name in scans[method].calls}
        if more <= methods:
            return methods
        methods = methods | more


def _methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions of the class and its bases, without libraries', the nearest one of each name."""
    seen: set[str] = set(_SETUP)
    for base in cls.__mro__:
        if f"{base.__module__}.".startswith(_LIBRARIES):
            continue
        for name, value in vars(base).items():
            function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
            if name not in seen and isinstance(function, FunctionType):
                seen.add(name)
                yield name, function


def _mentions_training(function: FunctionType) -> bool:
    return "training" in function.__code__.co_names


@lru_cache(maxsize=4096)
def _scanned(function: FunctionType) -> _Scan | None:
    """Return what a function does; None where its source is not at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, ValueError):
        return None
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    arguments = [*tree.args.posonlyargs, *tree.args.args]
    scan = _Scan(arguments[0].arg if arguments else "")
    scan.block(tree.body)
    return scan


class _Scan:
    """What one method writes and calls on `self`, in all, and depending on `self.training`."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.written: set[str] = set()
        self.gated: set[str] = set()
        self.in_eval: set[str] = set()
        self.calls: set[str] = set()
        self.gated_calls: set[str] = set()
        self.child_calls: set[tuple[str, str]] = set()
        self.gated_child_calls: set[tuple[str, str]] = set()
        self._aliases: dict[str, set[str]] = {}
        self._derived: set[str] = set()

    def block(self, statements: Iterable[ast.stmt], mode: Mode = "any") -> None:
        """Scan statements that run in this mode."""
        for statement in statements:
            if isinstance(statement, ast.If):
                then, otherwise = self._modes(statement.test, mode)
                self.block(statement.body, then)
                self.block(statement.orelse, otherwise)
                mode = otherwise if isinstance(statement.body[-1], ast.Return | ast.Raise) else mode
                continue
            nested = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            nested += [handler.body for handler in getattr(statement, "handlers", [])]
            if any(nested):
                for statements_inside in nested:
                    self.block(statements_inside, mode)
            else:
                self._simple(statement, "train" if mode == "any" and self._depends(statement) else mode)

    def _modes(self, test: ast.expr, mode: Mode) -> tuple[Mode, Mode]:
        """Return the modes in which the two branches of a condition run."""
        if not self._depends(test):
            return mode, mode
        parts = test.values if isinstance(test, ast.BoolOp) else [test]
        return ("eval", "train") if any(map(self._is_eval, parts)) else ("train", "eval")

    def _is_eval(self, test: ast.expr) -> bool:
        """Whether a condition is `not self.training`, or a comparison with False."""
        if isinstance(test, ast.Compare):
            return self._depends(test) and any(getattr(c, "value", None) is False for c in test.comparators)
        return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and self._depends(test.operand)

    def _depends(self, node: ast.AST) -> bool:
        return any(
            (isinstance(part, ast.Attribute) and part.attr == "training")
            or (isinstance(part, ast.Name) and part.id in self._derived)
            for part in ast.walk(node)
        )

    def _simple(self, statement: ast.stmt, mode: Mode) -> None:
        found = {name for part in ast.walk(statement) for name in self._writes(part)}
        functions = [part.func for part in ast.walk(statement) if isinstance(part, ast.Call)]
        called = {f.attr for f in functions if isinstance(f, ast.Attribute) and self._is_self(f.value)}
        children = {(name, "forward") for name in called}
        for function in functions:
            if not isinstance(function, ast.Attribute):
                continue
            owner = function.value
            if isinstance(owner, ast.Attribute) and self._is_self(owner.value):
                children.add((owner.attr, function.attr))
        self.written |= found
        self.calls |= called
        self.child_calls |= children
        if mode == "eval":
            self.in_eval |= found
        if mode == "train":
            self.gated |= found
            self.gated_calls |= called
            self.gated_child_calls |= children
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
                    # Assigning to a local name binds it and writes nothing.
                    if not isinstance(one, ast.Name) or isinstance(node, ast.AugAssign):
                        yield from self._bases(one)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            in_place = name.endswith("_") and not name.endswith("__")
            if in_place and isinstance(node.func, ast.Attribute):
                yield from self._bases(node.func.value)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in _NORMS:
                for argument in (*node.args[1:3], *(keywords[key] for key in AVERAGES if key in keywords)):
                    yield from self._bases(argument)
            elif in_place or _WRITERS.search(name.lower()):
                for argument in (*node.args, *keywords.values()):
                    yield from self._bases(argument)
            if "out" in keywords:
                yield from self._bases(keywords["out"])
            if name == "setattr":
                yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))

    def _bases(self, node: ast.expr) -> Iterator[str]:
        """Yield the attributes of `self` whose memory an expression stands for."""
        if isinstance(node, ast.Attribute):
            if self._is_self(node.value):
                yield node.attr
            elif node.attr in ("data", "T"):
                yield from self._bases(node.value)
            elif isinstance(node.value, ast.Attribute) and self._is_self(node.value.value):
                yield f"{node.value.attr}.{node.attr}"
        elif isinstance(node, ast.Name):
            yield from self._aliases.get(node.id, ())
        elif isinstance(node, ast.Subscript | ast.Starred):
            yield from self._bases(node.value)
        elif isinstance(node, ast.List | ast.Tuple):
            for element in node.elts:
                yield from self._bases(element)
        elif isinstance(node, ast.IfExp):
            yield from self._bases(node.body)
            yield from self._bases(node.orelse)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _VIEWS or node.func.attr.endswith("_"):
                yield from self._bases(node.func.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            yield from (str(a.value) for a in node.args[1:2] if isinstance(a, ast.Constant))

    def _is_self(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._owner
