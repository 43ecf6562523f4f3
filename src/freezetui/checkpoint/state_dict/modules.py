"""Reads a pickled nn.Module or a TorchScript module: tensors in state_dict order, classes of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.state_dict.quantized import is_packed, packed_tensors
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT
from freezetui.checkpoint.types import Kind
from freezetui.errors import CheckpointError

_SCRIPT = "__torch__"
#: torch's own traversal recurses, so no module that it wrote is nested deeper.
_MAX_DEPTH = 1000
#: Limit on the characters of all names, plus an allowance for each: a module may contain itself.
_MAX_NAMES = 2**27
_ALLOWANCE = 64


#: A tensor's name, its stub, and its kind if known.
Named = tuple[str, Any, Kind]


def is_module(value: Any) -> bool:
    """Whether a stub is an nn.Module or a TorchScript module."""
    if not isinstance(value, Opaque) or not isinstance(value.state, dict):
        return False
    return "_modules" in value.state or is_script(value)


def is_script(value: Any) -> bool:
    """Whether a stub is a TorchScript module."""
    return isinstance(value, Opaque) and type(value).__module__.startswith(_SCRIPT)


def module_tensors(root: Opaque, types: dict[str, str], code: Declared, source: str) -> Iterator[Named]:
    """Yield the persistent tensors of a module, in state_dict order.

    Args:
        types: receives module path -> class name.
        code: for TorchScript, what each class declares.

    Raises:
        CheckpointError: the modules are nested infinitely.
    """
    stack: list[tuple[str, int, Any]] = [("", 0, root)]
    spent = 0
    while stack:
        prefix, depth, module = stack.pop()
        if not is_module(module):
            continue
        types[prefix[:-1]] = f"{type(module).__module__}.{type(module).__name__}"
        tensors, children = _script_parts(module, code) if is_script(module) else _parts(module)
        for name, value, kind in tensors:
            spent += len(prefix) + len(name) + _ALLOWANCE
            yield prefix + name, value, kind
        spent += (len(prefix) + _ALLOWANCE) * (1 + len(children))
        if spent > _MAX_NAMES or depth > _MAX_DEPTH:
            raise CheckpointError(f"{source} has infinitely nested modules.", "It may be malicious.")
        stack.extend((f"{prefix}{name}.", depth + 1, child) for name, child in reversed(children))


def _script_parts(module: Opaque, code: Declared) -> tuple[list[Named], list[tuple[str, Any]]]:
    """Return a TorchScript module's tensors and submodules; its code declares which attributes are which."""
    state = module.state
    children = [(name, value) for name, value in _items(state) if is_script(value)]
    lists = code.get(f"{type(module).__module__}.{type(module).__name__}")
    if lists is None:  # if there is code, it is not a module; without code, the kinds are unknown
        return [] if code else _tensors(state, "unknown"), children
    parameters, buffers = ({name: state.get(name) for name in names} for names in lists)
    return _tensors(parameters, "parameter") + _tensors(buffers, "buffer"), children


def _parts(module: Opaque) -> tuple[list[Named], list[tuple[str, Any]]]:
    """Return a module's own tensors and its submodules."""
    state = module.state
    transient = _names(state.get("_non_persistent_buffers_set"))
    parameters = _tensors(state.get("_parameters"), "parameter")
    buffers = [named for named in _tensors(state.get("_buffers"), "buffer") if named[0] not in transient]
    children = _items(state.get("_modules"))
    # Quantized modules are stored as a tuple, or as an attribute of their parent.
    packed = [item for item in state.items() if type(item[0]) is str and is_packed(*item)]
    packed += [(name, child) for name, child in children if _is_tuple(child)]
    buffers += [(name, item, "buffer") for each in packed for name, item in packed_tensors(*each)]
    return parameters + buffers, children


def _is_tuple(child: Any) -> bool:
    return isinstance(child, Opaque) and type(child.state) is tuple


def _tensors(value: Any, kind: Kind) -> list[Named]:
    return [(name, item, kind) for name, item in _items(value) if type(item) in REBUILT]


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(k, v) for k, v in value.items() if type(k) is str] if isinstance(value, dict) else []


def _names(value: Any) -> set[str]:
    """Return the strings in a set, which older pickle protocols write as a call of `set` with a list."""
    if isinstance(value, Opaque) and len(value.args) == 1:
        value = value.args[0]
    return {name for name in value if type(name) is str} if isinstance(value, set | list) else set()


#: Qualified class name -> names of its own parameters and of its own buffers.
Declared = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
