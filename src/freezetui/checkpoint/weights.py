"""The tensors' bytes, for the engine: read through a private map, never unpickled, never written."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freezetui.checkpoint.archives import legacy_storages, zip_storages
from freezetui.checkpoint.safetensors import read_header
from freezetui.checkpoint.tensors import Checkpoint, TensorInfo
from freezetui.checkpoint.zipdir import Member, ZipDirectory
from freezetui.errors import CheckpointError

_STORED = 0


class Weights:
    """Where each storage of an open checkpoint lies.

    The memory views point into a copy-on-write map of the file: whoever writes to them changes his own
    memory, not the file.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        view: memoryview,
        places: dict[str, tuple[int, int] | Member],
        directory: ZipDirectory | None,
    ) -> None:
        self._checkpoint, self._view = checkpoint, view
        self._places, self._directory = places, directory

    def storage(self, tensor: TensorInfo) -> memoryview:
        """The raw bytes of the tensor's whole storage; for safetensors, of the tensor itself.

        Raises:
            CheckpointError: the file does not hold them.
        """
        key = tensor.storage.key if tensor.storage else self._checkpoint.prefix + tensor.name
        place = self._places.get(key)
        if place is None:
            raise CheckpointError(
                f"{self._checkpoint.source} lacks the data of {tensor.name!r}.",
                "Fetch or save the file again.",
            )
        if isinstance(place, Member):
            assert self._directory is not None
            if place.method != _STORED:
                return memoryview(bytearray(self._directory.read(place)))
            place = self._directory.offset(place), place.size
        start, length = place
        return self._view[start : start + length]


@contextmanager
def open_weights(checkpoint: Checkpoint) -> Iterator[Weights]:
    """The bytes of an open checkpoint's tensors; the views stay good as long as someone holds them.

    Raises:
        CheckpointError: the file is damaged, or has changed since its header was read.
    """
    source = checkpoint.source
    path = Path(source)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size != checkpoint.size:
                raise CheckpointError(f"{source} has changed since it was opened.", "Open it again.")
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            directory: ZipDirectory | None = None
            places: dict[str, tuple[int, int] | Member] = {}
            if checkpoint.format == "safetensors":
                entries, start = read_header(file, size, source)
                for name, entry in entries.items():
                    low, high = entry.data_offsets
                    places[name] = (start + low, high - low)
            elif checkpoint.format.startswith("zip"):
                directory = ZipDirectory(file, size, source)
                places.update(zip_storages(directory, source))
            else:
                places.update(legacy_storages(file, size, source))
            yield Weights(checkpoint, view, places, directory)
    except OSError as error:
        raise CheckpointError(
            f"{source} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None
