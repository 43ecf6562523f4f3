"""Which layer reads which input: found in the source of a model's own forward, without running it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

_MAX_DEPTH = 12

#: A place in an input: the argument's name, then keys of dicts, and positions of tuples.
Path = tuple["str | int", ...]


@dataclass
class Use:
    """What the source does with one input.

    Attributes:
        layers: the layers that read it first, each with the position of the argument there; in order.
        keys: the keys that are looked up in it: it is a dict.
        elements: into how many parts it is unpacked; 0 if it is not.
        rank: into how many dimensions its shape is unpacked; 0 if it is not.
        listed: whether it is iterated over.
        columns: how many layers read a column each.
        lifted: whether a dimension is inserted before it is read.
        alias: the name that it is unpacked to; "" if it is not.
        joined: the inputs that it is concatenated with, itself included, in order.
    """

    layers: list[tuple[nn.Module, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    elements: int = 0
    rank: int = 0
    listed: bool = False
    columns: int = 0
    lifted: bool = False
    alias: str = ""
    joined: tuple[Path, ...] = ()


def uses_of(model: nn.Module) -> dict[Path, Use]:
    """Return what the model's forward does with its inputs; empty where there is no source."""
    reader = _Reader()
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
        found = _body(function)
        if found is None or depth > _MAX_DEPTH:
            return
        names, body = found
        env: dict[str, Path] = {name: (name,) for name in names} if origins == {} else dict(origins or {})
        _Function(self, owner, env, depth).block(body)


class _Function:
    """The names of one function's body."""

    def __init__(self, reader: _Reader, owner: nn.Module, env: dict[str, Path], depth: int) -> None:
        self.reader, self.owner, self.env, self.depth = reader, owner, env, depth
        self.modules: dict[str, nn.Module] = {}
        self.strings: dict[str, list[str]] = {}

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
                tensor = _shape_of(left.args[0]) if left.args else None
            origin = self.origin(tensor)
            if origin and isinstance(value, ast.Constant) and isinstance(value.value, int):
                self.reader.use(origin).rank = value.value

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """Follow an assignment: of a value, of parts, of a shape's dimensions."""
        if isinstance(target, ast.Tuple):
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                for one, other in zip(target.elts, value.elts, strict=True):
                    self.assign(one, other)
                return
            shape = _shape_of(value)
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

    def loop(self, target: ast.expr, over: ast.expr) -> None:
        """Follow `for layer in self.layers`, `for image in images` and their `enumerate` and `zip`."""
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.args:
            if over.func.id == "enumerate" and isinstance(target, ast.Tuple):
                return self.loop(target.elts[1], over.args[0])
            if over.func.id == "zip" and isinstance(target, ast.Tuple):
                for one, other in zip(target.elts, over.args, strict=False):
                    self.loop(one, other)
                return None
        strings = self.texts(over)
        if strings and isinstance(target, ast.Name):
            self.strings[target.id] = strings
            return None
        if (
            isinstance(over, ast.Call)
            and isinstance(over.func, ast.Attribute)
            and isinstance(target, ast.Tuple)
        ):
            if over.func.attr == "items" and len(target.elts) == 2:
                self.loop(target.elts[0], over.func.value)
                values = ast.Call(ast.Attribute(over.func.value, "values", ast.Load()), [], [])
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

    def texts(self, node: ast.expr) -> list[str]:
        """Return the strings that an expression lists, or the keys of a dict of modules; [] if it has none."""
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
            return self.owner if node.id == "self" else self.modules.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.module(node.value)
            found = getattr(base, node.attr, None) if base is not None else None
            return found if isinstance(found, nn.Module) else None
        if isinstance(node, ast.Subscript):
            base = self.module(node.value)
            if isinstance(base, nn.ModuleDict):
                key = node.slice.value if isinstance(node.slice, ast.Constant) else None
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

    def origin(self, node: ast.expr | None) -> Path | None:
        """Return the input that an expression is made of; None if a layer lies between, or none is."""
        if node is None or isinstance(node, ast.Constant):
            return None
        if isinstance(node, ast.Name):
            return self.env.get(node.id)
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Attribute):
            return self.origin(node.value) if self.module(node) is None else None
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)):
            for generator in node.generators:
                self.loop(generator.target, generator.iter)
            return self.origin(node.value if isinstance(node, ast.DictComp) else node.elt)
        if isinstance(node, ast.Compare):
            if isinstance(node.left, ast.Constant) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
                return None  # a key that may be absent
            parts: list[Any] = [node.left, *node.comparators]
        else:
            parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        found = [origin for origin in map(self.origin, parts) if origin]
        return found[0] if found else None

    def subscript(self, node: ast.Subscript) -> Path | None:
        """Follow a key of a dict; a slice of a tensor is the tensor."""
        origin = self.origin(node.value)
        if origin is None:
            self.origin(node.slice)
            return None
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return self.key(origin, node.slice.value)
        if isinstance(node.slice, ast.Name) and node.slice.id in self.strings:
            return [self.key(origin, name) for name in self.strings[node.slice.id]][-1]
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            use = self.reader.use(origin)
            if origin[-1] in _BATCHES or use.elements:
                use.elements = max(use.elements, node.slice.value + 1)
                self.reader.use((*origin, node.slice.value))
                return (*origin, node.slice.value)
        return origin

    def key(self, origin: Path, key: str) -> Path:
        """Record a key."""
        use = self.reader.use(origin)
        if key not in use.keys:
            use.keys.append(key)
        self.reader.use((*origin, key))
        return (*origin, key)

    def call(self, node: ast.Call) -> Path | None:
        """Follow a call of a module, of a method of self, or of anything else, which passes its input on."""
        module = self.module(node.func)
        arguments: list[tuple[int | str, ast.expr]] = list(enumerate(node.args))
        arguments += [(k.arg, k.value) for k in node.keywords if k.arg is not None]
        if module is not None:
            for place, value in arguments:
                self.passed(module, place, value)
            return None
        if isinstance(node.func, ast.Attribute):
            owner = self.module(node.func.value)
            if owner is not None and not node.func.attr.startswith("__"):
                return self.method(owner, node.func.attr, arguments)
            origin = self.origin(node.func.value)
            if origin is not None:
                if node.func.attr == "get" and node.args and isinstance(node.args[0], ast.Constant):
                    return self.key(origin, str(node.args[0].value)) if len(node.args) == 1 else None
                if node.func.attr in ("unsqueeze",):
                    self.reader.use(origin).lifted = True
                for _, value in arguments:
                    self.origin(value)
                return origin
            if node.func.attr in _JOINING and node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
                parts = [origin for origin in map(self.origin, node.args[0].elts) if origin]
                for part in parts if len(set(parts)) > 1 else ():
                    self.reader.use(part).joined = tuple(dict.fromkeys(parts))
                return parts[0] if parts else None
        found = [origin for origin in (self.origin(value) for _, value in arguments) if origin]
        return found[0] if found else None

    def method(self, owner: nn.Module, name: str, arguments: list[tuple[int | str, ast.expr]]) -> Path | None:
        """Read a method of a module with what is passed to it."""
        function = getattr(owner, name, None)
        found = _body(function)
        if found is None:
            return None
        origins: dict[str, Path] = {}
        for place, value in arguments:
            origin = self.origin(value)
            named = place if isinstance(place, str) else (found[0][place] if place < len(found[0]) else "")
            if origin and named:
                origins[named] = origin
        if not origins:
            return None
        reader, before = self.reader, {path: len(use.layers) for path, use in self.reader.uses.items()}
        reader.read(owner, function, origins, self.depth + 1)
        first = next(iter(origins.values()))
        read = len(reader.use(first).layers) > before.get(first, 0)
        return None if read else first

    def passed(self, module: nn.Module, place: int | str, value: ast.expr) -> None:
        """Record that a module reads an input, or follow it into the module's own forward."""
        if isinstance(value, ast.Starred):
            value = value.value
        if isinstance(value, ast.Tuple):
            for item in value.elts:
                self.passed(module, place, item)
            return
        origin = self.origin(value)
        if origin is None:
            return
        while isinstance(module, (nn.Sequential, nn.DataParallel)):
            inner = module.module if isinstance(module, nn.DataParallel) else next(iter(module), None)
            if not isinstance(inner, nn.Module):
                return
            module = inner
            while isinstance(module, _TRANSPARENT):
                siblings = [m for m in self.siblings(module) if not isinstance(m, _TRANSPARENT)]
                if not siblings:
                    return
                module = siblings[0]
        own = None if type(module).__module__.startswith("torch.nn") else _body(module.forward)
        if own is None:
            use = self.reader.use(origin)
            use.layers.append((module, place if isinstance(place, int) else _position(module, place)))
            if _is_column(value):
                use.columns = max(use.columns, sum(1 for _ in self.siblings(module)))
            return
        names = own[0]
        named = place if isinstance(place, str) else (names[place] if place < len(names) else "")
        if named:
            self.reader.read(module, module.forward, {named: origin}, self.depth + 1)

    def siblings(self, module: nn.Module) -> Iterator[nn.Module]:
        """Yield the modules beside this one, itself included, from it on."""
        for parent in self.owner.modules():
            children = list(parent.children())
            for i, child in enumerate(children):
                if child is module:
                    yield from children[i:]
                    return


#: Layers that change no feature: what follows decides.
_TRANSPARENT = (nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.SiLU, nn.GELU, nn.Unflatten)
_JOINING = ("cat", "concat", "concatenate", "hstack")
_BATCHES = ("batch", "data", "inputs", "sample", "samples", "batched_inputs", "features", "args")


def _body(function: Any) -> tuple[list[str], list[ast.stmt]] | None:
    """Return the parameters' names, without self, and the body; None where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, RecursionError):
        return None
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    arguments = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args)]
    if arguments and inspect.ismethod(function):
        arguments = arguments[1:]
    arguments += [a.arg for a in tree.args.kwonlyargs]
    arguments += [tree.args.kwarg.arg] if tree.args.kwarg else []
    return arguments, tree.body


def _shape_of(node: ast.expr) -> ast.expr | None:
    """Return x of `x.shape` and `x.size()`, else None."""
    if isinstance(node, ast.Attribute) and node.attr == "shape":
        return node.value
    call = node if isinstance(node, ast.Call) and not node.args else None
    if call is not None and isinstance(call.func, ast.Attribute) and call.func.attr == "size":
        return call.func.value
    return None


def _is_column(node: ast.expr) -> bool:
    """Whether it is `x[:, i]` or `x[..., i]`."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
        return False
    return isinstance(node.slice.elts[-1], (ast.Name, ast.Constant))


def _position(module: nn.Module, name: str) -> int:
    try:
        return list(inspect.signature(module.forward).parameters).index(name)
    except (ValueError, TypeError):
        return 0
