"""The bytes of the tensors: read through a private memory map, never unpickled, never written."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import NamedTuple

from freezetui.checkpoint.formats.dcp import METADATA
from freezetui.checkpoint.formats.dcp_pieces import Piece, are_rows, places_of, read_piece
from freezetui.checkpoint.formats.detect import container
from freezetui.checkpoint.formats.gguf import read_entries
from freezetui.checkpoint.formats.safetensors import read_header
from freezetui.checkpoint.formats.torch_legacy import legacy_storages
from freezetui.checkpoint.formats.torch_zip import zip_storages
from freezetui.checkpoint.formats.zip_directory import STORED, Member, ZipDirectory
from freezetui.checkpoint.sources.base import OpenFile, version_of
from freezetui.checkpoint.sources.local import LocalSource, open_file
from freezetui.checkpoint.sources.urls import is_url, shown_source
from freezetui.checkpoint.state_dict.composite import MAX_PLACES
from freezetui.checkpoint.types import Checkpoint, Part, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: Copy-on-write. Linux would refuse a writable map larger than its memory unless told not to reserve any;
#: before Python 3.13 the flag has no name.
_NORESERVE = 0x4000 if sys.platform == "linux" and os.uname().machine in ("x86_64", "aarch64") else 0
_PRIVATE = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", _NORESERVE)

_JOIN = "torch.distributed.checkpoint.format_utils"
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


class Weights:
    """Finds the storages of an open checkpoint."""

    def __init__(self, checkpoint: Checkpoint, files: Sequence[Mapped]) -> None:
        self._checkpoint, self._files = checkpoint, files
        self._holders = {name: file for file in files for name in file.places} if len(files) > 1 else {}

    def storage(self, tensor: TensorInfo) -> memoryview:
        """Return the raw bytes of the tensor's whole storage; for safetensors, of the tensor itself.

        The view points into a copy-on-write map of the file: writing to it changes memory, not the file. It
        stays valid as long as it is referenced.

        Raises:
            CheckpointError: the file does not contain them.
        """
        key, file = self._holder(tensor)
        raw = file.bytes(key) if file is not None else None
        if raw is None:
            raise self._lacks(tensor)
        return raw

    def safetensors(self, tensor: TensorInfo) -> tuple[str, str] | None:
        """Return the safetensors file that holds the tensor and its name there; None for other formats."""
        key, file = self._holder(tensor)
        return (file.safetensors, key) if file is not None and file.safetensors else None

    def parts(self, tensor: TensorInfo) -> list[memoryview]:
        """Return the whole storages of a tensor stored in parts (see `Packing`); [] if they are unknown.

        Raises:
            CheckpointError: the file does not contain them.
        """
        what = tensor.packing.what if tensor.packing else ""
        number, key = 0, tensor.storage.key if tensor.storage else ""
        if len(self._files) > 1:
            numbers, _, key = key.partition("/")
            number = int(numbers.partition("-")[0] or 0)
        keys = [place.rpartition("@")[0] for place in key.removeprefix(f"{what}:").split("+")]
        if not 0 < len(keys) < MAX_PLACES or "" in keys:
            return []
        file = self._files[number]
        found = [part for key in keys if (part := file.bytes(key)) is not None]
        if len(found) < len(keys):
            raise self._lacks(tensor)
        return found

    def pieces(self, tensor: TensorInfo) -> list[Piece]:
        """Return the pieces of a tensor of a distributed checkpoint; [] for other formats.

        Raises:
            CheckpointError: one of them is missing or corrupt.
        """
        return []

    def checksum(self, tensor: TensorInfo) -> int:
        """Return the archive's CRC-32 of the tensor's storage; 0 if it has none."""
        key, file = self._holder(tensor)
        place = file.places.get(key) if file is not None else None
        return place.crc if isinstance(place, Member) and place.method == STORED else 0

    def _lacks(self, tensor: TensorInfo) -> CheckpointError:
        return CheckpointError(
            f"{printable(self._checkpoint.source)} does not contain the data of {printable(tensor.name)}.",
            "Download or save the file again.",
        )

    def _holder(self, tensor: TensorInfo) -> tuple[str, Mapped | None]:
        """Return the key of a tensor's storage and the file that contains it."""
        if tensor.storage is None:
            key = self._checkpoint.name_in_file(tensor)
            return key, self._holders.get(key) if self._holders else self._files[0]
        if len(self._files) == 1:
            return tensor.storage.key, self._files[0]
        numbers, _, key = tensor.storage.key.partition("/")
        first, _, last = numbers.partition("-")
        if not last:
            return key, self._files[int(first)]
        parts = self._files[int(first) : int(last) + 1]
        return key, next((file for file in parts if key in file.places), None)


class DistributedWeights(Weights):
    """Finds the pieces of a distributed checkpoint's tensors; its files are mapped as they are needed."""

    def __init__(self, checkpoint: Checkpoint, directory: LocalSource) -> None:
        super().__init__(checkpoint, ())
        self._directory, self._maps = directory, dict[str, mmap.mmap]()
        source = checkpoint.parts[0].source
        with open_file(source) as opened:
            _check_unchanged(opened, checkpoint.parts[0])
            self._places = places_of(opened.file.read(opened.size), opened.name, directory.sizes())

    def storage(self, tensor: TensorInfo) -> memoryview:
        """Return the bytes of the tensor; a copy if they are in several pieces."""
        pieces = self.pieces(tensor)
        if not are_rows(pieces, tensor.shape):
            raise CheckpointError(
                f"{printable(tensor.name)} is split across files in blocks.",
                f"Join them: python -m {_JOIN} dcp_to_torch DIRECTORY model.pth",
            )
        if len(pieces) == 1:
            return pieces[0].raw
        return memoryview(bytearray().join(piece.raw for piece in pieces))

    def safetensors(self, tensor: TensorInfo) -> None:
        """Return None: no tensor is in a safetensors file."""

    def parts(self, tensor: TensorInfo) -> list[memoryview]:
        """Return []: such tensors are not stored."""
        return []

    def pieces(self, tensor: TensorInfo) -> list[Piece]:
        """Return the pieces of a tensor, ordered by their offsets."""
        places = self._places.get(tensor.storage.key if tensor.storage else "")
        if not places:
            raise self._lacks(tensor)
        return [read_piece(self._map(place.path), place, tensor, printable(place.path)) for place in places]

    def checksum(self, tensor: TensorInfo) -> int:
        """Return 0: there are no checksums for whole tensors."""
        return 0

    def _map(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            with self._directory.child(name).open() as opened:
                self._maps[name] = _private_map(opened)
        return self._maps[name]


@contextmanager
def open_weights(checkpoint: Checkpoint) -> Iterator[Weights]:
    """Open the bytes of a checkpoint's tensors.

    Raises:
        CheckpointError: the checkpoint is `incomplete`; or a file is corrupt, has changed since its header
            was read, was written on a machine of the other byte order, or is remote.
    """
    if checkpoint.incomplete:
        raise CheckpointError(checkpoint.incomplete)
    first = checkpoint.parts[0].source if checkpoint.parts else ""
    if os.path.basename(first) == METADATA and not is_url(first):  # noqa: PTH119 (a URL is not a path)
        yield DistributedWeights(checkpoint, LocalSource(first).parent())
        return
    yield Weights(checkpoint, [_mapped(part) for part in checkpoint.parts])


def _mapped(part: Part) -> Mapped:
    if is_url(part.source):
        raise CheckpointError(
            f"{shown_source(part.source)} is remote; its weights are needed on this machine.",
            "Download it and pass the copy.",
        )
    with open_file(part.source) as opened:
        _check_unchanged(opened, part)
        data, (_, size, head, name) = _private_map(opened), opened
    view, kind = memoryview(data), container(head)
    if kind == "zip":
        directory = ZipDirectory(data, size, name)
        return Mapped(view, zip_storages(directory, name), directory)
    if kind == "legacy":
        return Mapped(view, legacy_storages(data, name), None)
    if kind == "gguf":
        return Mapped(
            view, {n: (e.start, e.nbytes) for n, e in read_entries(data, size, name)[0].items()}, None
        )
    entries, start = read_header(data, size, name)
    ranges = ((tensor, entry.data_offsets) for tensor, entry in entries.items())
    places = {tensor: (start + low, high - low) for tensor, (low, high) in ranges}
    return Mapped(view, places, None, part.source)


def _check_unchanged(opened: OpenFile, part: Part) -> None:
    if opened.size != part.size or version_of(opened.file) != part.version:
        raise CheckpointError(f"{opened.name} has changed since it was opened.", "Open it again.")


def _private_map(opened: OpenFile) -> mmap.mmap:
    assert isinstance(opened.file, BufferedReader)
    return mmap.mmap(opened.file.fileno(), 0, flags=_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
