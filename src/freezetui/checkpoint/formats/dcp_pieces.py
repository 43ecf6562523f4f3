"""Finds the pieces of a distributed checkpoint's tensors: each is an archive of torch.save inside a file."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from freezetui.checkpoint.formats.dcp import is_shape, state_of
from freezetui.checkpoint.formats.torch_zip import read_zip, zip_storages
from freezetui.checkpoint.formats.window import Window
from freezetui.checkpoint.formats.zip_directory import STORED, ZipDirectory
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.state_dict.assemble import build_checkpoint
from freezetui.checkpoint.types import ITEMSIZE, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import printable


class Place(NamedTuple):
    """Where a piece is.

    Attributes:
        path: the name of a file in the checkpoint's directory.
        start, length: of its archive there, in bytes; a negative length if it is compressed.
        offsets, shape: which elements of the whole tensor it holds, per dimension.
    """

    path: str
    start: int
    length: int
    offsets: tuple[int, ...]
    shape: tuple[int, ...]


class Piece(NamedTuple):
    """The elements of a piece, in place.

    Attributes:
        offsets, shape: see `Place`.
        stride: in elements, one per dimension; None means contiguous.
        raw: the bytes from its first element on.
    """

    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None
    raw: memoryview


def places_of(metadata: bytes, source: str, files: Mapping[str, int]) -> dict[str, list[Place]]:
    """Return the pieces of every tensor by its name, ordered by their offsets.

    A tensor with a piece that is missing, or that reaches beyond its file, is left out.

    Args:
        metadata: the content of `.metadata`.
        files: the size in bytes of each file in the directory.

    Raises:
        CheckpointError: the metadata is corrupt.
    """
    state = state_of(read_pickle(metadata, source).value, "Metadata")
    entries = state.get("state_dict_metadata") if isinstance(state, dict) else None
    stored = state.get("storage_data") if isinstance(state, dict) else None
    if not isinstance(entries, dict) or not isinstance(stored, dict):
        return {}
    written: dict[tuple[Any, Any], Any] = {}
    for place, value in stored.items():
        index, info = state_of(place, "MetadataIndex"), state_of(value, "_StorageInfo")
        if not isinstance(index, dict) or not isinstance(info, dict):
            continue
        if type(index.get("fqn")) is str and is_shape(index.get("offset")):
            written[index["fqn"], index["offset"]] = info
    found = {name: _places(name, value, written, files) for name, value in entries.items()}
    return {name: places for name, places in found.items() if places}


def _places(
    name: Any, value: Any, written: Mapping[tuple[Any, Any], Any], files: Mapping[str, int]
) -> list[Place]:
    """Return the pieces of one tensor; [] if it is not one, or if a piece is missing."""
    state = state_of(value, "TensorStorageMetadata")
    chunks = state.get("chunks") if isinstance(state, dict) else None
    places = []
    for chunk in chunks if isinstance(chunks, list) else ():
        part = state_of(chunk, "ChunkStorageMetadata")
        if not isinstance(part, dict) or not is_shape(part.get("offsets")) or not is_shape(part.get("sizes")):
            return []
        info = written.get((name, part["offsets"]), {})
        path, start, length = info.get("relative_path"), info.get("offset"), info.get("length")
        if type(path) is not str or type(start) is not int or type(length) is not int:
            return []
        if start < 0 or length < 0 or start + length > files.get(path, -1):
            return []
        length = -1 if info.get("transform_descriptors") else length
        places.append(Place(path, start, length, part["offsets"], part["sizes"]))
    return sorted(places, key=lambda place: place.offsets)


def read_piece(file: Stream, view: memoryview, place: Place, tensor: TensorInfo, source: str) -> Piece:
    """Return the elements of a piece.

    Args:
        file: the whole file that it is in, and `view` a map of it.
        tensor: what it is a piece of.

    Raises:
        CheckpointError: it is compressed, corrupt, or something else than the metadata says.
    """
    if place.length < 0:
        raise CheckpointError(f"{printable(tensor.name)} is compressed.", "Save it without an extension.")
    directory = ZipDirectory(Window(file, place.start, place.length), place.length, source)
    archive = read_zip(directory, source)
    info = build_checkpoint(archive._replace(value={"piece": archive.value}), source, "zip", None).tensors[0]
    member = zip_storages(directory, source).get(info.storage.key) if info.storage else None
    if (info.shape, info.dtype, info.packing) != (place.shape, tensor.dtype, None) or member is None:
        raise CheckpointError(
            f"{printable(tensor.name)} in {source} is not what the metadata says.",
            "Save the checkpoint again.",
        )
    assert info.storage is not None
    if info.storage.read_as:
        raise CheckpointError(
            f"{printable(tensor.name)} is stored as a conjugate or negative view.",
            "Save it after resolve_conj() and resolve_neg().",
        )
    itemsize = ITEMSIZE.get(info.dtype, 1)
    start = info.storage.offset * itemsize
    if member.method != STORED:
        raw = memoryview(bytearray(directory.read(member)))[start:]
    else:
        low = place.start + directory.offset(member)
        raw = view[low + start : low + member.size]
    if info.storage.stride is None:
        raw = raw[: prod(info.shape) * itemsize]
        if len(raw) < prod(info.shape) * itemsize:
            raise CheckpointError(f"{printable(tensor.name)} is truncated.", "Save the checkpoint again.")
    return Piece(place.offsets, place.shape, info.storage.stride, raw)


def are_rows(pieces: list[Piece], shape: tuple[int, ...]) -> bool:
    """Whether pieces, one after the other, are the whole tensor: contiguous ranges of the first dimension."""
    if any(piece.stride is not None for piece in pieces):
        return False
    if not shape or len(pieces) == 1:
        return len(pieces) == 1 and pieces[0].shape == shape
    at = 0
    for piece in pieces:
        if piece.offsets != (at, *[0] * (len(shape) - 1)) or piece.shape[1:] != shape[1:]:
            return False
        at += piece.shape[0]
    return at == shape[0]
