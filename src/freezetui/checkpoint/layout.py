"""Which of the nested dicts is the state_dict; prefixes, pickled modules, what is passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from freezetui.checkpoint.archives import Unpacked
from freezetui.checkpoint.kinds import renamed, told_apart
from freezetui.checkpoint.tensors import Checkpoint, Passed, TensorInfo
from freezetui.checkpoint.text import printable
from freezetui.checkpoint.unpickle import Mapping, Opaque
from freezetui.checkpoint.values import TensorReader, is_tensor
from freezetui.errors import CheckpointError

#: Where the weights lie in the wild, what is wanted most first.
_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "params_ema",
    "params-ema",
    "params",
    "ema",
    "generator",
)
_PREFIXES = ("module.", "_orig_mod.", "netG.")
_NO_MODEL = ("optim", "scheduler", "scaler", "sampler", "rng")
_DEEPEST = 4
_MOST_VISITED = 4_000_000


class _Candidate(NamedTuple):
    """A state_dict or a module: the key that leads to it, and how many tensors it holds directly."""

    key: str
    value: Any
    tensors: int


def lay_out(unpacked: Unpacked, source: str, container: str, size: int, key: str | None) -> Checkpoint:
    """The Checkpoint in an unpickled object.

    Args:
        container: how the file is packed, "zip" or "legacy".
        key: the dict that the person wants; None chooses.

    Raises:
        CheckpointError: the object holds no state_dict, or none under `key`.
    """
    candidates = list(_candidates(unpacked.value))
    chosen = _choose(candidates, unpacked.value, source, key)
    module = not isinstance(chosen.value, dict)
    types: dict[str, str] = {}
    if module:
        tensors = list(_module_tensors(chosen.value, types, source))
    else:
        tensors = list(_dict_tensors(chosen.value))
    prefix = _prefix(tensors)
    what = "pickled nn.Module" if module else "state_dict" if not chosen.key else "checkpoint"
    return Checkpoint(
        source=source,
        format=f"{container} {what}",
        tensors=told_apart(renamed(tensors, prefix) if prefix else tensors),
        key=chosen.key,
        prefix=prefix,
        choices=tuple(candidate.key for candidate in candidates),
        passed_over=tuple(_passed(unpacked.value, chosen)),
        module_types={path.removeprefix(prefix): name for path, name in types.items()},
        module_paths=_module_paths(chosen.value, prefix),
        foreign=unpacked.foreign,
        warnings=tuple(_warnings(candidates, chosen, tensors)),
        size=size,
    )


def lay_out_safetensors(checkpoint: Checkpoint, key: str | None) -> Checkpoint:
    """A safetensors checkpoint with its prefix off and its kinds settled.

    Raises:
        CheckpointError: a key was asked for; safetensors has no nested dicts.
    """
    if key is not None:
        raise CheckpointError(f"{checkpoint.source} is safetensors, which has no keys.", "Leave --key out.")
    prefix = _prefix(list(checkpoint.tensors))
    tensors = renamed(checkpoint.tensors, prefix) if prefix else checkpoint.tensors
    return msgspec.structs.replace(checkpoint, tensors=told_apart(tensors), prefix=prefix)


def _candidates(root: Any) -> Iterator[_Candidate]:
    """Every dict that holds tensors under text keys, and every module, breadth first."""
    level: list[tuple[str, Any]] = [("", root)]
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        below: list[tuple[str, Any]] = []
        for key, value in level:
            if id(value) in seen:
                continue
            seen.add(id(value))
            if _is_module(value):
                yield _Candidate(key, value, 1)
            elif isinstance(value, dict) and "param_groups" not in value:
                tensors = sum(1 for name, item in value.items() if type(name) is str and is_tensor(item))
                if tensors:
                    yield _Candidate(key, value, tensors)
                    continue
                for name, item in value.items():
                    if type(name) is str and not any(word in name.lower() for word in _NO_MODEL):
                        below.append((f"{key}.{name}" if key else name, item))
        level = below


def _choose(candidates: list[_Candidate], root: Any, source: str, key: str | None) -> _Candidate:
    keys = ", ".join(printable(candidate.key) or "(the top level)" for candidate in candidates)
    if key is not None:
        for candidate in candidates:
            if candidate.key == key:
                return candidate
        hint = f"Keys that do: {keys}." if keys else "The file holds none at all."
        raise CheckpointError(f"{source} has no state_dict under the key {key!r}.", hint)
    if not candidates:
        raise CheckpointError(f"{source} holds {_what(root)}, no state_dict.", "Save model.state_dict().")

    def rank(candidate: _Candidate) -> tuple[int, int]:
        last = candidate.key.rpartition(".")[2]
        return (_KEYS.index(last) if last in _KEYS else len(_KEYS), -candidate.tensors)

    return candidates[0] if not candidates[0].key else min(candidates, key=rank)


def _dict_tensors(state_dict: dict[Any, Any]) -> Iterator[TensorInfo]:
    info = TensorReader().info
    for name, value in state_dict.items():
        if type(name) is str and is_tensor(value):
            tensor = info(name, value)
            if tensor is not None:
                yield tensor


def _is_module(value: Any) -> bool:
    return isinstance(value, Opaque) and isinstance(value.state, dict) and "_modules" in value.state


def _module_tensors(root: Opaque, types: dict[str, str], source: str) -> Iterator[TensorInfo]:
    """The tensors of a pickled nn.Module in state_dict's order; fills `types` with class names by path."""
    info = TensorReader().info
    stack: list[tuple[str, Any]] = [("", root)]
    visited = 0
    while stack:
        prefix, module = stack.pop()
        visited += 1
        if visited > _MOST_VISITED or prefix.count(".") > 10_000:
            raise CheckpointError(f"{source} nests its modules without end.", "It may be hostile.")
        if not _is_module(module):
            continue
        types[prefix[:-1]] = f"{type(module).__module__}.{type(module).__name__}"
        state = module.state
        for name, value in _items(state.get("_parameters")):
            tensor = info(prefix + name, value, "parameter") if is_tensor(value) else None
            if tensor is not None:
                yield tensor
        transient = state.get("_non_persistent_buffers_set")
        hidden = transient if isinstance(transient, set | list) else ()
        for name, value in _items(state.get("_buffers")):
            tensor = info(prefix + name, value, "buffer") if is_tensor(value) and name not in hidden else None
            if tensor is not None:
                yield tensor
        stack.extend((f"{prefix}{name}.", child) for name, child in reversed(_items(state.get("_modules"))))


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(k, v) for k, v in value.items() if type(k) is str] if isinstance(value, dict) else []


def _prefix(tensors: list[TensorInfo]) -> str:
    """The wrappers' prefix that every name carries, e.g. "module._orig_mod."; "" for none."""
    stripped = ""
    while tensors:
        found = next((p for p in _PREFIXES if tensors[0].name.startswith(stripped + p)), None)
        if found is None or not all(tensor.name.startswith(stripped + found) for tensor in tensors):
            return stripped
        stripped += found
    return stripped


def _module_paths(value: Any, prefix: str) -> tuple[str, ...]:
    """Every module that `state_dict._metadata` names."""
    metadata = getattr(value, "_metadata", None) if isinstance(value, Mapping) else None
    if not isinstance(metadata, dict):
        return ()
    return tuple(path.removeprefix(prefix) for path in metadata if type(path) is str and path != prefix[:-1])


def _passed(root: Any, chosen: _Candidate) -> Iterator[Passed]:
    if root is chosen.value or not isinstance(root, dict):
        return
    for name, value in root.items():
        if str(name) != chosen.key.partition(".")[0]:
            yield Passed(printable(str(name)[:200]), _what(value))


def _what(value: Any) -> str:
    """A value in a few words: its tensors and their bytes where it holds any."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:40]
    if isinstance(value, str):
        return printable(repr(value[:40]))
    tensors = [info for info in _all_tensors(value) if info is not None]
    if tensors:
        noun = "tensor" if len(tensors) == 1 else "tensors"
        return f"{len(tensors):,} {noun}, {sum(t.bytes for t in tensors):,} bytes"
    if isinstance(value, Opaque):
        return printable(f"a {type(value).__module__}.{type(value).__name__}")
    kind = "dict" if isinstance(value, dict) else type(value).__name__
    length = f" of {len(value)}" if isinstance(value, dict | list | tuple | set) else ""
    return f"a {kind}{length}"


def _all_tensors(value: Any) -> Iterator[TensorInfo | None]:
    info = TensorReader().info
    stack: list[Any] = [value]
    seen: set[int] = set()
    while stack and len(seen) < _MOST_VISITED:
        item = stack.pop()
        if is_tensor(item):
            yield info("", item)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(item.values() if isinstance(item, dict) else item)
        elif isinstance(item, Opaque) and id(item) not in seen:
            seen.add(id(item))
            stack += [item.state, item.args, item.items]


def _warnings(
    candidates: list[_Candidate], chosen: _Candidate, tensors: Iterable[TensorInfo]
) -> Iterator[str]:
    others = [candidate.key or "(the top level)" for candidate in candidates if candidate is not chosen]
    if others:
        here = chosen.key or "the top level"
        yield printable(f"several state_dicts: this is {here}; --key chooses {', '.join(others[:8])}")
    unreadable = chosen.tensors - sum(1 for _ in tensors) if isinstance(chosen.value, dict) else 0
    if unreadable > 0:
        yield f"{unreadable:,} tensors are of a kind that is not read here and were left out"
