"""Follows an input through the expressions of a forward to the layers that read it."""

from __future__ import annotations

import ast
import re
from typing import Any

from torch import Tensor, nn

from freezetui.models.inputs.forward_loops import Loops
from freezetui.models.inputs.forward_source import (
    DETECTION,
    Path,
    body,
    is_column,
    position,
    standing_in,
)

#: Layers that change no feature: what follows decides.
_TRANSPARENT = (nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.SiLU, nn.GELU, nn.Unflatten)
_JOINING = ("cat", "concat", "concatenate", "hstack")
#: What describes a tensor, and is not made of its values.
_DESCRIBING = (
    "shape",
    "size",
    "device",
    "dtype",
    "ndim",
    "dim",
    "numel",
    "new_zeros",
    "new_ones",
    "new_tensor",
)
_BATCHES = ("batch", "data", "inputs", "sample", "samples", "batched_inputs", "features", "args")


class Expressions(Loops):
    """The expressions of one function's body."""

    def origin(self, node: ast.expr | None) -> Path | None:
        """Return the input that an expression is made of; None if a layer lies between, or none is."""
        if node is None or isinstance(node, ast.Constant):
            return None
        if isinstance(node, ast.Name):
            return self.env.get(node.id)
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Attribute):
            origin = self.origin(node.value) if self.module(node) is None else None
            if node.attr in _DESCRIBING:
                return None
            if origin is None or (hasattr(Tensor, node.attr) and not self.reader.use(origin).attributes):
                return origin
            self.reader.use(origin).attributes = True
            return self.key(origin, node.attr)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)):
            for generator in node.generators:
                self.loop(generator.target, generator.iter)
            return self.origin(node.value if isinstance(node, ast.DictComp) else node.elt)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            weight, origin = self.weight(node.right), self.origin(node.left)
            if weight is not None and origin is not None and weight.dim() == 2:
                self.reader.use(origin).layers.append((standing_in("matmul", weight), 0))
                return None
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
        if isinstance(node.slice, ast.Name) and node.slice.id in self.bound:
            return self.key(origin, self.bound[node.slice.id])
        if isinstance(node.slice, ast.Name) and node.slice.id in self.strings:
            return [self.key(origin, name) for name in self.strings[node.slice.id]][-1]
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            use = self.reader.use(origin)
            if origin[-1] in _BATCHES or use.elements or use.several:
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
        named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in self.strings}
        free = next((name for name in named if name not in self.bound), None)
        if free is not None:  # layers[name](batch[name])
            last = None
            for text in self.strings[free]:
                self.bound[free] = text
                last = self.call(node)
            del self.bound[free]
            return last
        module = self.module(node.func)
        arguments: list[tuple[int | str, ast.expr]] = list(enumerate(node.args))
        arguments += [(k.arg, k.value) for k in node.keywords if k.arg is not None]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        kind = type(module).__name__ if module is not None else str(name)
        if re.search(r"(?i)loss$|criterion|cross_entropy|_nll$", kind):
            for place, value in arguments:
                origin = self.origin(value)
                if origin and place in (1, "target", "labels"):
                    self.reader.use(origin).loss = kind
            return None
        if name == "pack_padded_sequence":
            for place, value in arguments:
                origin = self.origin(value) if place in (1, "lengths") else None
                if origin:
                    self.reader.use(origin).role = "lengths"
        if module is not None:
            for place, value in arguments:
                self.passed(module, place, value)
            for origin in [self.origin(k.value) for k in node.keywords if k.arg is None]:
                if origin:
                    self.reader.use(origin).spread = module
            return None
        if isinstance(node.func, ast.Attribute) and len(node.args) > 1:  # F.linear(x, self.weight)
            weight, origin = self.weight(node.args[1]), self.origin(node.args[0])
            layer = standing_in(node.func.attr, weight) if weight is not None and origin is not None else None
            if layer is not None and origin is not None:
                self.reader.use(origin).layers.append((layer, 0))
                return None
        if isinstance(node.func, ast.Attribute):
            owner = self.module(node.func.value)
            if owner is not None and not node.func.attr.startswith("__"):
                return self.method(owner, node.func.attr, arguments)
            origin = self.origin(node.func.value)
            if origin is not None:
                if node.func.attr == "get" and node.args and isinstance(node.args[0], ast.Constant):
                    return self.key(origin, str(node.args[0].value)) if len(node.args) == 1 else None
                if node.func.attr in _DESCRIBING:
                    return None
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
        found = body(function)
        if found is None:
            return None
        origins: dict[str, Path] = {}
        for place, value in arguments:
            origin = self.origin(value)
            named = place if isinstance(place, str) else "".join(found.names[place : place + 1])
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
            whole = self.origin(value)
            if whole is not None and self.reader.use(whole).several:
                self.reader.use(whole).spread = module
        if isinstance(value, ast.Tuple):
            for item in value.elts:
                self.passed(module, place, item)
            return
        if self.one_by_one(module, value):
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
        known = type(module).__module__.startswith(("torch.nn", DETECTION))
        own = None if known else body(module.forward)
        if own is None:
            use = self.reader.use(origin)
            use.layers.append((module, place if isinstance(place, int) else position(module, place)))
            if is_column(value) and isinstance(module, nn.Embedding):
                use.columns = max(
                    use.columns, sum(isinstance(m, nn.Embedding) for m in self.siblings(module))
                )
            elif is_column(value):
                use.stepped = True
            return
        named = place if isinstance(place, str) else "".join(own.names[place : place + 1])
        if named:
            self.reader.read(module, module.forward, {named: origin}, self.depth + 1)
