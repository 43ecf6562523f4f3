"""Reads directories of several models: a pipeline of diffusers, the modules of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from freezetui.checkpoint.sources.base import Source
from freezetui.checkpoint.sources.urls import shown_source
from freezetui.checkpoint.types import Checkpoint, StorageKey, TensorInfo
from freezetui.errors import CheckpointError, MissingFileError, NoCheckpointError

#: The first of these that exists lists the models.
_INDEXES = ("model_index.json", "modules.json")
_MAX_BYTES, _MAX_PARTS = 10_000_000, 100


def read_pipeline(
    directory: Source, key: str | None, read: Callable[[Source], Checkpoint]
) -> Checkpoint | None:
    """Return the models of a pipeline as one, each under its directory's name; None if it is not a pipeline.

    Args:
        read: reads the directory of one model.

    Raises:
        CheckpointError: one of the models is corrupt; or `key` is given, which does not apply to a pipeline.
    """
    listed = next(filter(None, (_listed(directory.child(name)) for name in _INDEXES)), None)
    if listed is None:
        return None
    label, parts = listed
    found: list[tuple[str, Checkpoint]] = []
    for name in parts:
        part = directory.child(name) if name else directory
        if name and not part.is_directory():
            continue
        try:
            found.append((name, read(part)))
        except NoCheckpointError:  # a tokenizer, a scheduler, a pooling layer
            continue
    if not any(name for name, _ in found):
        return None
    if key is not None:
        raise CheckpointError(
            f"{shown_source(directory.location)}: --key does not apply to a pipeline.",
            "Open the directory of one of its models.",
        )
    return _joined(found, label)


def _listed(index: Source) -> tuple[str, list[str]] | None:
    """Return the pipeline's label and its directories in order ("" for itself); None if it is not one."""
    try:
        with index.open() as opened:
            text = opened.file.read(min(opened.size, _MAX_BYTES)).removeprefix(b"\xef\xbb\xbf")
        document = msgspec.json.decode(text)
    except (MissingFileError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(document, dict):
        name = document.get("_class_name")
        label = f"diffusers {name}" if isinstance(name, str) and name.isidentifier() else "diffusers"
        parts = [part for part, value in document.items() if isinstance(value, list) and _is_name(part)]
        return label[:200], parts[:_MAX_PARTS]
    if isinstance(document, list):
        paths = [entry.get("path", 0) for entry in document if isinstance(entry, dict)]
        kept = [path for path in paths if isinstance(path, str) and (not path or _is_name(path))]
        return "sentence-transformers", kept[:_MAX_PARTS]
    return None


def _is_name(value: Any) -> bool:
    """Whether it is the name of an entry of this directory, not a path."""
    return (
        isinstance(value, str)
        and 0 < len(value) < 200
        and not value.startswith(".")
        and value.replace("_", "").replace("-", "").isalnum()
    )


def _joined(found: list[tuple[str, Checkpoint]], label: str) -> Checkpoint:
    tensors: list[TensorInfo] = []
    first = 0
    for name, part in found:
        last = first + len(part.parts) - 1
        front = f"{name}." if name else ""
        tensors += (_moved(tensor, front, part.prefix, first, last) for tensor in part.tensors)
        first = last + 1
    models = [model for _, model in found]
    return Checkpoint(
        source="",
        format=f"{len(found)} models",
        tensors=tuple(tensors),
        module_types={
            ".".join(filter(None, (name, path))): kind
            for name, model in found
            for path, kind in model.module_types.items()
        },
        foreign=tuple(dict.fromkeys(each for model in models for each in model.foreign)),
        warnings=tuple(
            f"{name}: {warning}" if name else warning for name, model in found for warning in model.warnings
        ),
        size=sum(model.size for model in models),
        parts=tuple(part for model in models for part in model.parts),
        label=label,
        absent=tuple(f"{name}.{each}" if name else each for name, model in found for each in model.absent),
        incomplete=next((model.incomplete for model in models if model.incomplete), ""),
    )


def _moved(tensor: TensorInfo, front: str, prefix: str, first: int, last: int) -> TensorInfo:
    """Return the tensor under its directory's name, with the parts that may contain it."""
    if tensor.storage is None:
        place = StorageKey(f"{first}-{last}/{prefix}{tensor.name}")
    elif first == last:
        place = msgspec.structs.replace(tensor.storage, key=f"{first}/{tensor.storage.key}")
    else:
        place = msgspec.structs.replace(tensor.storage, key=_shifted(tensor.storage.key, first))
    return msgspec.structs.replace(tensor, name=front + tensor.name, storage=place)


def _shifted(key: str, first: int) -> str:
    """Return a storage key that starts with a part's number, with `first` added to the number."""
    numbers, _, rest = key.partition("/")
    return "-".join(str(int(number) + first) for number in numbers.split("-")) + "/" + rest
