"""Reads torch.distributed.checkpoint directories: `.metadata` pickles the shape and dtype of every tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import TypedTensorStub
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import Source, version_of
from freezetui.checkpoint.state_dict.assemble import Archive, build_checkpoint
from freezetui.checkpoint.types import Checkpoint, Part
from freezetui.errors import CheckpointError

METADATA = ".metadata"
_MODULE = "torch.distributed.checkpoint"
_MAX_METADATA, _MAX_DEPTH = 2**29, 64


def read_dcp(directory: Source, key: str | None) -> Checkpoint | None:
    """Return the Checkpoint in a directory; None if its `.metadata` is something else.

    Raises:
        CheckpointError: `.metadata` is corrupt, or contains no state_dict.
    """
    source = directory.child(METADATA)
    with source.open() as opened:
        if opened.size > _MAX_METADATA:
            raise CheckpointError(f"{opened.name} is too large for a metadata file.", "It may be malicious.")
        part = Part(source.location, opened.size, version_of(opened.file))
        unpickled = read_pickle(opened.file.read(opened.size), opened.name)
        state = _state(unpickled.value, "Metadata")
        if not isinstance(state, dict):
            return None
        root = _nested(state.get("state_dict_metadata"), state.get("planner_data"))
        archive = Archive(root, unpickled.foreign, unpickled.called)
        checkpoint = build_checkpoint(archive, opened.name, "distributed", key)
    size = opened.size + sum(_lengths(state.get("storage_data")))
    return msgspec.structs.replace(checkpoint, size=size, parts=(part,))


def _nested(entries: Any, paths: Any) -> dict[Any, Any]:
    """Return the saved dict as described by the metadata: tensors without data, everything else as it is."""
    root: dict[Any, Any] = {}
    paths = paths if isinstance(paths, dict) else {}
    for name, value in entries.items() if isinstance(entries, dict) else ():
        path = paths.get(name)
        steps = path if _is_path(path) else (name,)
        level = root
        for step in steps[:-1]:
            level = level.setdefault(step, {})
            if not isinstance(level, dict):
                level = root.setdefault(f"{name} (under a tensor)", {})
        level[steps[-1]] = _tensor(name, value) or value
    return root


def _is_path(value: Any) -> bool:
    """Whether it is a path through nested dicts; a long tuple shared by all names would take forever."""
    is_short = type(value) is tuple and 0 < len(value) <= _MAX_DEPTH
    return is_short and all(type(step) in (str, int) for step in value)


def _tensor(name: Any, value: Any) -> TypedTensorStub | None:
    """Return a stub for a tensor as torch.save would have written it; None if it is not a tensor."""
    state = _state(value, "TensorStorageMetadata")
    if not isinstance(state, dict) or type(name) is not str:
        return None
    properties, size = _state(state.get("properties"), "TensorProperties"), state.get("size")
    if type(properties) is tuple and properties:
        dtype, requires_grad = properties[0], len(properties) > 2 and properties[2] is True
    elif isinstance(properties, dict):
        dtype, requires_grad = properties.get("dtype"), properties.get("requires_grad") is True
    else:
        return None
    storage = ("storage", "uint8", name, "cpu", 0)
    return TypedTensorStub(storage, 0, size, _contiguous(size), requires_grad, None, dtype)


def _contiguous(size: Any) -> Any:
    """Return the strides of a contiguous tensor; None if it is not a shape, which the reader then refuses."""
    if type(size) is not tuple or not all(type(each) is int and 0 <= each < 2**63 for each in size):
        return None
    strides, step = [], 1
    for each in reversed(size):
        strides.append(step)
        step *= max(each, 1)
    return tuple(reversed(strides))


def _lengths(entries: Any) -> Iterator[int]:
    """Yield the bytes of each piece in the `.distcp` files."""
    for value in entries.values() if isinstance(entries, dict) else ():
        state = _state(value, "_StorageInfo")
        length = state.get("length") if isinstance(state, dict) else None
        if type(length) is int and 0 <= length < 2**63:
            yield length


def _state(value: Any, name: str) -> Any:
    """Return the attributes of an instance of the module's class `name`; None for anything else."""
    kind = type(value)
    is_known = isinstance(value, Opaque) and kind.__module__.startswith(_MODULE) and kind.__name__ == name
    return value.state if is_known else None
