"""Reads torch.export archives (.pt2): weights as members beside a JSON; before torch 2.7 a nested archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from math import prod
from typing import NamedTuple

import msgspec

from freezetui import numbers
from freezetui.checkpoint.formats.inner_pickles import named_in
from freezetui.checkpoint.formats.torch_zip import read_zip
from freezetui.checkpoint.formats.window import Window
from freezetui.checkpoint.formats.zip_directory import STORED, Member, ZipDirectory
from freezetui.checkpoint.pickles.globals import together
from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.state_dict.assemble import build_checkpoint
from freezetui.checkpoint.state_dict.incomplete import beyond, missing_data
from freezetui.checkpoint.types import (
    ITEMSIZE,
    Checkpoint,
    Packing,
    SkippedEntry,
    StorageKey,
    TensorInfo,
    contiguous_stride,
)
from freezetui.errors import CheckpointError
from freezetui.text import listed, printable

WEIGHTS = "/data/weights/"
_CONFIG, _CONSTANTS = "_weights_config.json", "_constants_config.json"
_OLD_STATE = ("serialized_state_dict.pt", "serialized_state_dict.json")
#: Custom objects, which torch reads without pickle.
_CUSTOM = "custom_obj_"
_PICKLED = re.compile(rf"/data/sample_inputs/|/data/constants/(?!tensor_|{_CUSTOM})|^serialized_\w+\.pt$")
_MAX_CONFIG, _MAX_PACKED, _MAX_SIZE = 2**28, 2**24, 2**63 - 1

#: ScalarType numbers of torch's export schema.
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


class _Int(msgspec.Struct):
    as_int: int


class _Meta(msgspec.Struct):
    dtype: int
    sizes: list[_Int]
    requires_grad: bool
    strides: list[_Int]
    storage_offset: _Int


class _Entry(msgspec.Struct):
    path_name: str
    is_param: bool
    tensor_meta: _Meta | None
    use_pickle: bool = False


class _Config(msgspec.Struct):
    config: dict[str, _Entry]


class Contents(NamedTuple):
    """The members of an archive that describe its models.

    Attributes:
        weights, constants: the JSON of each model, by the model's name.
        old: the member with the state_dict, if an older version wrote the archive.
        others: the other members that torch unpickles: sample inputs, and constants that are not plain
            numbers.
    """

    weights: dict[str, Member]
    constants: dict[str, Member]
    old: Member | None
    others: list[Member]


def contents(directory: ZipDirectory) -> Contents:
    """Return the members that torch.export wrote; all empty if it did not write the archive."""
    weights: dict[str, Member] = {}
    constants: dict[str, Member] = {}
    old: Member | None = None
    others: list[Member] = []
    for member in directory.members():
        last = member.name.rpartition("/")[2]
        if WEIGHTS in member.name and last.endswith(_CONFIG):
            weights[last.removesuffix(_CONFIG)] = member
        elif "/data/constants/" in member.name and last.endswith(_CONSTANTS):
            constants[last.removesuffix(_CONSTANTS)] = member
        elif member.name in _OLD_STATE:
            old = member
        elif _PICKLED.search(member.name):
            others.append(member)
    return Contents(weights, constants, old, others)


def read_pt2(
    file: Stream, directory: ZipDirectory, found: Contents, source: str, key: str | None
) -> Checkpoint:
    """Return the Checkpoint in an archive written by torch.export.

    Args:
        found: from `contents`; not all empty.
        key: the name of one of several models; None chooses the first.

    Raises:
        CheckpointError: the archive is corrupt, or contains no model of that name.
    """
    if not found.weights:
        assert found.old is not None
        return _read_old(file, directory, found, source, key)
    name = key if key is not None else next(iter(found.weights))
    if name not in found.weights:
        raise CheckpointError(
            f"{source} has no model under the key {printable(repr(name[:200]))}.",
            f"Choose one of: {listed(list(found.weights), 20)}.",
        )
    entries = _config(directory, found.weights[name], source)
    try:
        tensors = tuple(_info(tensor, entry) for tensor, entry in entries.items())
    except ValueError:
        raise _corrupt(source) from None
    sizes = {m.name.rpartition("/")[2]: m.size for m in directory.members() if WEIGHTS in m.name}
    lost = beyond(tensors, sizes)
    why, warnings = missing_data(lost, source) if lost else ("", ())
    constants = _entries(directory, found.constants.get(name), source)
    others = {member.name.rpartition("/")[2] for member in found.others}
    pickled = {e.path_name for e in (*entries.values(), *constants.values()) if e.use_pickle} - others
    pickled = {path for path in pickled if not path.startswith(_CUSTOM)}
    weights = (m for m in directory.members() if m.name.rpartition("/")[2] in pickled)
    named = named_in(_files(file, directory, [*found.others, *weights]), source)
    several = len(found.weights) > 1
    return Checkpoint(
        source=source,
        format="torch.export archive",
        tensors=tensors,
        key=name if several else "",
        choices=tuple(found.weights) if several else ("",),
        skipped=_constants(constants),
        foreign=named.foreign,
        warnings=(*named.warnings(), *warnings),
        incomplete=why,
    )


def _config(directory: ZipDirectory, member: Member, source: str) -> dict[str, _Entry]:
    if member.size > _MAX_CONFIG:
        raise _corrupt(source)
    try:
        return msgspec.json.decode(directory.read(member), type=_Config).config
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _corrupt(source) from None


def _info(name: str, entry: _Entry) -> TensorInfo:
    """Return an entry as TensorInfo; raise ValueError if its numbers make no sense."""
    meta = entry.tensor_meta
    if meta is None:
        raise ValueError(name)
    shape = tuple(size.as_int for size in meta.sizes)
    stride = tuple(step.as_int for step in meta.strides)
    offset = meta.storage_offset.as_int
    if meta.dtype not in _DTYPES or len(shape) != len(stride) or min((*shape, *stride, offset)) < 0:
        raise ValueError(name)
    if prod(max(size, 1) for size in shape) > _MAX_SIZE:
        raise ValueError(name)
    return TensorInfo(
        name,
        shape,
        _DTYPES[meta.dtype],
        "parameter" if entry.is_param else "buffer",
        meta.requires_grad if entry.is_param else None,
        StorageKey(entry.path_name, offset, None if stride == contiguous_stride(shape) else stride),
        # A subclass is stored in its member as torch.save writes it, not as plain elements.
        packing=Packing("subclass", _nbytes(meta)) if entry.use_pickle else None,
    )


def _nbytes(meta: _Meta) -> int:
    return prod(size.as_int for size in meta.sizes) * ITEMSIZE.get(_DTYPES.get(meta.dtype, ""), 0)


def _entries(directory: ZipDirectory, member: Member | None, source: str) -> dict[str, _Entry]:
    return {} if member is None else _config(directory, member, source)


def _constants(entries: dict[str, _Entry]) -> tuple[SkippedEntry, ...]:
    """Return the tensors that are only in the graph, such as non-persistent buffers, as a skipped entry."""
    # Custom objects have no meta.
    metas = [entry.tensor_meta for entry in entries.values() if entry.tensor_meta is not None]
    if not metas:
        return ()
    what = f"{numbers.plural(len(metas), 'tensor')}, {numbers.size(sum(map(_nbytes, metas)))}"
    return (SkippedEntry("constants", what),)


def _files(file: Stream, directory: ZipDirectory, members: list[Member]) -> Iterator[tuple[Stream, int]]:
    """Yield each member as a file of its own, and its size."""
    for member in members:
        if member.method == STORED:
            yield Window(file, directory.offset(member), member.size), member.size
        elif member.size <= _MAX_PACKED:
            yield BytesIO(directory.read(member)), member.size
        else:
            yield BytesIO(), 0  # counted as not checked


def _read_old(
    file: Stream, directory: ZipDirectory, found: Contents, source: str, key: str | None
) -> Checkpoint:
    member = found.old
    assert member is not None
    if member.method != STORED:
        raise CheckpointError(
            f"{source} is a compressed torch.export archive from before torch 2.7.",
            "Load it with torch.export.load and save it again.",
        )
    window = Window(file, directory.offset(member), member.size)
    inner = ZipDirectory(window, member.size, source)
    archive = read_zip(inner, source)
    named = named_in(_files(file, directory, found.others), source)
    foreign, called = together((archive.foreign, named.foreign)), together((archive.called, named.called))
    checkpoint = build_checkpoint(archive._replace(foreign=foreign, called=called), source, "zip", key)
    # What the pickle has as nn.Parameter is a parameter; the rest of an exported program's state are buffers.
    tensors = tuple(
        msgspec.structs.replace(tensor, kind="buffer", guessed=False)
        if tensor.requires_grad is None
        else tensor
        for tensor in checkpoint.tensors
    )
    return msgspec.structs.replace(
        checkpoint,
        format="torch.export archive (before torch 2.7)",
        tensors=tensors,
        warnings=(*named._replace(foreign=(), called=()).warnings(), *checkpoint.warnings),
    )


def _corrupt(source: str) -> CheckpointError:
    return CheckpointError(f"{source} is a corrupt torch.export archive.", "Download or save the file again.")
