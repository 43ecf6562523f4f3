"""Maps one file of a checkpoint, here or behind a URL, and finds its storages."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Mapping
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple

from freezetui.checkpoint.formats.detect import container
from freezetui.checkpoint.formats.zip_directory import STORED, Member, ZipDirectory
from freezetui.checkpoint.sources import source_of
from freezetui.checkpoint.sources.base import OpenFile, Source, version_of
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import Part
from freezetui.errors import CheckpointError, TruncatedError

if TYPE_CHECKING:
    from freezetui.checkpoint.sources.remote_map import RemoteFiles, RemoteMap

#: Copy-on-write. Linux would refuse a writable map larger than its memory unless told not to reserve any;
#: before Python 3.13 the flag has no name.
_NORESERVE = 0x4000 if sys.platform == "linux" and os.uname().machine in ("x86_64", "aarch64") else 0
_PRIVATE = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", _NORESERVE)

#: How many bytes of a remote legacy file to read first for its pickles, and how many at most.
_FIRST_FETCH, _MAX_FETCH = 1 << 16, 1 << 30
#: Offset and length of bytes in a file.
Span = tuple[int, int]


class Mapped(NamedTuple):
    """One file of a checkpoint.

    Attributes:
        view: all its bytes, in a copy-on-write map.
        places: position of each storage by its key; in safetensors, of each tensor by its name in the file.
        directory: the directory of a zip archive; None for other formats.
        safetensors: the file's path if it is safetensors; "" for other formats.
    """

    view: memoryview
    places: Mapping[str, Span | Member]
    directory: ZipDirectory | None
    safetensors: str = ""

    def bytes(self, key: str) -> memoryview | None:
        """Return the bytes under a key; None if the file does not contain them."""
        place = self.places.get(key)
        if isinstance(place, Member):
            assert self.directory is not None
            if place.method != STORED:
                return memoryview(bytearray(self.directory.read(place)))
            place = self.directory.offset(place), place.size
        return None if place is None else self.view[place[0] : place[0] + place[1]]


def mapped(part: Part, remote: RemoteFiles | None) -> Mapped:
    """Return a mapped file, and where its storages are; imports only what reads its format.

    Raises:
        CheckpointError: it is corrupt, has changed, or was written on a machine of the other byte order.
    """
    (_, size, head, name), data, view = map_of(source_of(part.source), remote, part)
    kind = container(head)
    if kind == "pickle":
        raise CheckpointError(
            f"{name} is a plain Python pickle, whose weights cannot be read in place.",
            "If you trust it, load it with pickle and save its state_dict with torch.save.",
        )
    # Each format is imported on demand, as for its header.
    if kind == "zip":
        from freezetui.checkpoint.formats.torch_zip import zip_storages

        directory = ZipDirectory(data, size, name)
        return Mapped(view, zip_storages(directory, name), directory)
    if kind == "legacy":
        return Mapped(view, _legacy_storages(data, size, name), None)
    if kind == "gguf":
        from freezetui.checkpoint.formats.gguf import read_entries

        return Mapped(
            view, {n: (e.start, e.nbytes) for n, e in read_entries(data, size, name)[0].items()}, None
        )
    from freezetui.checkpoint.formats.safetensors import read_header

    entries, start = read_header(data, size, name)
    ranges = ((tensor, entry.data_offsets) for tensor, entry in entries.items())
    places = {tensor: (start + low, high - low) for tensor, (low, high) in ranges}
    return Mapped(view, places, None, part.source)


def map_of(
    source: Source, remote: RemoteFiles | None, part: Part | None = None
) -> tuple[OpenFile, mmap.mmap | RemoteMap, memoryview]:
    """Return a file, as it was opened, with a map of it as a stream and as memory.

    Args:
        remote: what maps a file behind a URL.
        part: what it must be unchanged from; None for anything.

    Raises:
        CheckpointError: it cannot be opened, or has changed.
    """
    if remote is not None and is_url(source.location):
        opened, mapped = remote.map(source)
        if part is not None:
            check_unchanged(opened, part)
        return opened, mapped, mapped.view
    with source.open() as opened:
        if part is not None:
            check_unchanged(opened, part)
        data = _private_map(opened)
    return opened, data, memoryview(data)


def _legacy_storages(data: mmap.mmap | RemoteMap, size: int, name: str) -> dict[str, Span]:
    from freezetui.checkpoint.formats.torch_legacy import legacy_storages

    if isinstance(data, mmap.mmap):
        return legacy_storages(data, name)
    length = _FIRST_FETCH  # the pickles come first, and their length is known only after reading them
    while True:
        data.seek(0)
        try:
            return legacy_storages(data.read(min(length, size)), name, size)
        except TruncatedError:
            if length >= min(size, _MAX_FETCH):
                raise
            length *= 4


def check_unchanged(opened: OpenFile, part: Part) -> None:
    """Refuse a file that has changed since its header was read."""
    if opened.size != part.size or version_of(opened.file) != part.version:
        raise CheckpointError(f"{opened.name} has changed since it was opened.", "Open it again.")


def _private_map(opened: OpenFile) -> mmap.mmap:
    assert isinstance(opened.file, BufferedReader)
    return mmap.mmap(opened.file.fileno(), 0, flags=_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
