"""The source of a forward: its body, a few expressions in it, and what is recorded of an input."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

#: Where torchvision's detection models are defined: they read lists of images, and of targets.
DETECTION = "torchvision.models.detection"

#: A place in an input: the argument's name, then keys of dicts, and positions of tuples.
Path = tuple["str | int", ...]


@dataclass
class Use:
    """What the source does with one input.

    Attributes:
        layers: the layers that read it first, each with the position of the argument there; in order.
        keys: the keys that are looked up in it: it is a dict.
        attributes: the attributes that it has and a tensor has not: it is an object.
        role: what it is by what reads it: "lengths" or "".
        several: whether it is all positional arguments: a number picks one.
        stepped: whether a step of it is read: a dimension comes before those of one step.
        elements: into how many parts it is unpacked; 0 if it is not.
        rank: into how many dimensions its shape is unpacked; 0 if it is not.
        sizes: axis -> its size, where the source demands one.
        listed: whether it is iterated over.
        columns: how many layers read a column each.
        lifted: whether a dimension is inserted before it is read.
        alias: the name that it is unpacked to; "" if it is not.
        joined: the inputs that it is concatenated with, itself included, in order.
        loss: the function or layer that compares an output with it; "" if none does.
        spread: the module that is called with its keys, or with all of it, as arguments.
    """

    layers: list[tuple[nn.Module, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    attributes: bool = False
    role: str = ""
    several: bool = False
    stepped: bool = False
    elements: int = 0
    rank: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    listed: bool = False
    columns: int = 0
    lifted: bool = False
    alias: str = ""
    joined: tuple[Path, ...] = ()
    loss: str = ""
    spread: nn.Module | None = None


class Source(NamedTuple):
    """The source of a function.

    Attributes:
        names: the parameters' names, without the first one of a method.
        statements: the body.
        owner: what a method calls `self`; "" for a function.
    """

    names: list[str]
    statements: list[ast.stmt]
    owner: str


def body(function: Any) -> Source | None:
    """Return the source of a function; None where there is none."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, RecursionError):
        return None
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    arguments = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args)]
    owner = arguments.pop(0) if arguments and inspect.ismethod(function) else ""
    every = [*tree.args.kwonlyargs, tree.args.vararg, tree.args.kwarg]
    arguments += [each.arg for each in every if each is not None]
    return Source(arguments, tree.body, owner)


def shape_of(node: ast.expr) -> ast.expr | None:
    """Return x of `x.shape` and `x.size()`, else None."""
    if isinstance(node, ast.Attribute) and node.attr == "shape":
        return node.value
    call = node if isinstance(node, ast.Call) and not node.args else None
    if call is not None and isinstance(call.func, ast.Attribute) and call.func.attr == "size":
        return call.func.value
    return None


def is_column(node: ast.expr) -> bool:
    """Whether it is `x[:, i]` or `x[..., i]`."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
        return False
    return isinstance(node.slice.elts[-1], (ast.Name, ast.Constant))


def standing_in(function: str, weight: Tensor) -> Any:
    """Return a layer without values that reads what a function with this weight reads; None if unknown."""
    shape = tuple(weight.shape)
    if function in ("matmul", "mm", "einsum") and len(shape) == 2:
        return nn.Linear(shape[0], shape[1], device="meta")
    if function == "linear" and len(shape) == 2:
        return nn.Linear(shape[1], shape[0], device="meta")
    if function in ("embedding", "embedding_bag") and len(shape) == 2:
        return nn.Embedding(*shape, device="meta")
    kinds: dict[str, Any] = {"conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}
    if function in kinds and len(shape) > 2:
        return kinds[function](shape[1], shape[0], shape[2:], device="meta")
    return None


def position(module: nn.Module, name: str) -> int:
    """Return the place of a named argument in a module's forward; 0 if it is not known."""
    try:
        return list(inspect.signature(module.forward).parameters).index(name)
    except (ValueError, TypeError):
        return 0
