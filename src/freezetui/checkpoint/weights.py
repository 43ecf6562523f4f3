"""The tensors' bytes, for the engine: read through a private map, never unpickled, never written."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from freezetui.checkpoint.archives import legacy_storages, zip_storages
from freezetui.checkpoint.safetensors import read_header
from freezetui.checkpoint.sniff import container, opened
from freezetui.checkpoint.tensors import Checkpoint, TensorInfo
from freezetui.checkpoint.text import printable
from freezetui.checkpoint.zipdir import STORED, Member, ZipDirectory
from freezetui.errors import CheckpointError

_Place = tuple[int, int]


class Weights:
    """Where each storage of an open checkpoint lies."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        view: memoryview,
        places: Mapping[str, _Place | Member],
        directory: ZipDirectory | None,
    ) -> None:
        self._checkpoint, self._view = checkpoint, view
        self._places, self._directory = places, directory

    def storage(self, tensor: TensorInfo) -> memoryview:
        """The raw bytes of the tensor's whole storage; for safetensors, of the tensor itself.

        The view points into a copy-on-write map of the file: whoever writes to it changes his own memory, not
        the file. It stays good as long as someone holds it.

        Raises:
            CheckpointError: the file does not hold them.
        """
        key = tensor.storage.key if tensor.storage else self._checkpoint.prefix + tensor.name
        place = self._places.get(key)
        if isinstance(place, Member):
            assert self._directory is not None
            if place.method != STORED:
                return memoryview(bytearray(self._directory.read(place)))
            place = self._directory.offset(place), place.size
        if place is None:
            raise CheckpointError(
                f"{printable(self._checkpoint.source)} lacks the data of {printable(tensor.name)}.",
                "Fetch or save the file again.",
            )
        start, length = place
        return self._view[start : start + length]


@contextmanager
def open_weights(checkpoint: Checkpoint) -> Iterator[Weights]:
    """The bytes of an open checkpoint's tensors.

    Raises:
        CheckpointError: the file is damaged, has changed since its header was read, or was written on a
            machine of the other byte order.
    """
    with opened(checkpoint.source) as (file, size, head, name):
        if size != checkpoint.size:
            raise CheckpointError(f"{name} has changed since it was opened.", "Open it again.")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    kind = container(head)
    directory = ZipDirectory(data, size, name) if kind == "zip" else None
    places: Mapping[str, _Place | Member]
    if directory is not None:
        places = zip_storages(directory, name)
    elif kind == "legacy":
        places = legacy_storages(data, name)
    else:
        places = _tensor_places(data, size, name)
    yield Weights(checkpoint, memoryview(data), places, directory)


def _tensor_places(data: mmap.mmap, size: int, source: str) -> dict[str, _Place]:
    entries, start = read_header(data, size, source)
    ranges = ((name, entry.data_offsets) for name, entry in entries.items())
    return {name: (start + low, high - low) for name, (low, high) in ranges}
