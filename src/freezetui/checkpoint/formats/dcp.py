"""Reads torch.distributed.checkpoint directories: `.metadata` pickles the shape and dtype of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, TypeGuard

import msgspec

from freezetui.checkpoint.formats.detect import METADATA
from freezetui.checkpoint.formats.inner_pickles import named_in
from freezetui.checkpoint.pickles.globals import together
from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import TypedTensorStub
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import Source, Stream, version_of
from freezetui.checkpoint.state_dict.assemble import Archive, build_checkpoint
from freezetui.checkpoint.types import Checkpoint, Part, contiguous_stride
from freezetui.errors import CheckpointError

_MODULE = "torch.distributed.checkpoint"
_MAX_METADATA, _MAX_DEPTH = 2**29, 64
#: Bytes of all objects that are not tensors, and how many of them are fetched over a network.
_MAX_OBJECTS, _MAX_FETCHES = 2**26, 32


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
        state = state_of(unpickled.value, "Metadata")
        if not isinstance(state, dict):
            return None
        entries, stored, files = (
            state.get("state_dict_metadata"),
            state.get("storage_data"),
            directory.sizes(),
        )
        root = _nested(entries, state.get("planner_data"))
        sizes = _sizes(entries, stored, files)
        objects = named_in(_objects(entries, stored, directory, files), opened.name)
        archive = Archive(
            root,
            together((unpickled.foreign, objects.foreign)),
            together((unpickled.called, objects.called)),
            sizes=sizes,
        )
        checkpoint = build_checkpoint(archive, opened.name, "distributed", key)
    return msgspec.structs.replace(
        checkpoint,
        size=opened.size + sum(_lengths(stored)),
        parts=(part,),
        warnings=(*checkpoint.warnings, *objects._replace(foreign=(), called=()).warnings()),
    )


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
    state = state_of(value, "TensorStorageMetadata")
    if not isinstance(state, dict) or type(name) is not str:
        return None
    properties, size = state_of(state.get("properties"), "TensorProperties"), state.get("size")
    if type(properties) is tuple and properties:
        dtype, requires_grad = properties[0], len(properties) > 2 and properties[2] is True
    elif isinstance(properties, dict):
        dtype, requires_grad = properties.get("dtype"), properties.get("requires_grad") is True
    else:
        return None
    storage = ("storage", "uint8", name, "cpu", 0)
    # A stub without a stride is refused by the reader.
    stride = contiguous_stride(size) if is_shape(size) else None
    return TypedTensorStub(storage, 0, size, stride, requires_grad, None, dtype)


def is_shape(value: Any) -> TypeGuard[tuple[int, ...]]:
    """Return whether a value of the metadata can be the size of a tensor."""
    return type(value) is tuple and all(type(each) is int and 0 <= each < 2**63 for each in value)


def _sizes(entries: Any, stored: Any, files: Mapping[str, int]) -> dict[str, int] | None:
    """Return how many bytes of each tensor the files contain; None if the metadata does not say where.

    It is 0 for a tensor with a piece that is missing, or that extends beyond its file.

    Args:
        files: the size in bytes of each file in the directory.
    """
    if not isinstance(stored, dict):
        return None
    pieces: dict[str, list[int]] = {}
    for place, value in stored.items():
        index, info = state_of(place, "MetadataIndex"), state_of(value, "_StorageInfo")
        if not isinstance(index, dict) or not isinstance(info, dict):
            return None  # of another writer
        name = index.get("fqn")
        if type(name) is str:
            pieces.setdefault(name, []).append(_piece(info, files))
    sizes = {name: 0 if 0 in found else sum(found) for name, found in pieces.items()}
    for name, value in entries.items() if isinstance(entries, dict) else ():
        state = state_of(value, "TensorStorageMetadata")
        chunks = state.get("chunks") if isinstance(state, dict) else None
        if isinstance(chunks, list) and type(name) is str and len(chunks) > len(pieces.get(name, ())):
            sizes[name] = 0
    return sizes


def _piece(info: dict[str, Any], files: Mapping[str, int]) -> int:
    """Return the bytes of one piece of a tensor, written by torch.save; 0 if some are missing."""
    path, offset, length = info.get("relative_path"), info.get("offset"), info.get("length")
    if type(path) is not str or type(offset) is not int or type(length) is not int:
        return 0
    if offset < 0 or length < 0 or offset + length > files.get(path, -1):
        return 0
    return 2**63 if info.get("transform_descriptors") else length  # compressed: its size is not the tensor's


def _objects(
    entries: Any, stored: Any, directory: Source, files: Mapping[str, int]
) -> Iterator[tuple[Stream, int]]:
    """Yield every object that is not a tensor, and its size.

    torch's planner unpickles them without `weights_only`. Equal ones, such as the learning rate of
    every parameter, are yielded once.
    """
    if not isinstance(entries, dict) or not isinstance(stored, dict):
        return
    places: dict[str, set[tuple[int, int]]] = {}
    for place, value in stored.items():
        index, info = state_of(place, "MetadataIndex"), state_of(value, "_StorageInfo")
        name = index.get("fqn") if isinstance(index, dict) else None
        if type(name) is str and _is(entries.get(name), "BytesStorageMetadata") and isinstance(info, dict):
            length = _piece(info, files)
            if 0 < length <= _MAX_OBJECTS:
                places.setdefault(info["relative_path"], set()).add((info["offset"], length))
            elif length:
                yield BytesIO(), 0  # counted as not checked
    seen: set[bytes] = set()
    left, fetches = _MAX_OBJECTS, _MAX_FETCHES
    for path, spans in places.items():
        with directory.child(path).open() as opened:
            is_remote = not hasattr(opened.file, "fileno")
            for offset, length in sorted(spans):
                left, fetches = left - length, fetches - is_remote
                if left < 0 or fetches < 0:
                    yield BytesIO(), 0
                    continue
                opened.file.seek(offset)
                data = opened.file.read(length)
                if data not in seen:
                    seen.add(data)
                    yield BytesIO(data), length


def _lengths(entries: Any) -> Iterator[int]:
    """Yield the bytes of each piece in the `.distcp` files."""
    for value in entries.values() if isinstance(entries, dict) else ():
        state = state_of(value, "_StorageInfo")
        length = state.get("length") if isinstance(state, dict) else None
        if type(length) is int and 0 <= length < 2**63:
            yield length


def state_of(value: Any, name: str) -> Any:
    """Return the attributes of an instance of the module's class `name`; None for anything else."""
    return value.state if _is(value, name) else None


def _is(value: Any, name: str) -> bool:
    """Whether it is an instance of the module's class `name`."""
    kind = type(value)
    return isinstance(value, Opaque) and kind.__module__.startswith(_MODULE) and kind.__name__ == name
