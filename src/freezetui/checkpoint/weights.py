"""Weights: where the bytes of each tensor are, in memory maps of the files that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from freezetui.checkpoint.formats.zip_directory import STORED, Member
from freezetui.checkpoint.mapped import Mapped
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.checkpoint.formats.dcp_pieces import Piece
    from freezetui.checkpoint.sources.remote_map import RemoteFiles


class Weights:
    """Finds the storages of an open checkpoint.

    Attributes:
        remote: its files behind URLs, whose bytes must be `filled` before they are read; None if it has none.
    """

    def __init__(
        self, checkpoint: Checkpoint, files: Sequence[Mapped], remote: RemoteFiles | None = None
    ) -> None:
        self._checkpoint, self._files, self.remote = checkpoint, files, remote
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
            raise self.lacks(tensor)
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
        from freezetui.checkpoint.state_dict.composite import MAX_PLACES  # imports what reads pickles

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
            raise self.lacks(tensor)
        return found

    def channels(self, tensor: TensorInfo) -> tuple[int, TensorInfo, TensorInfo] | None:
        """Return the axis, scales and zero points of a tensor quantized by channel; None for any other."""
        from freezetui.checkpoint.state_dict.quantizers import channels_of  # imports what reads pickles

        key = tensor.storage.key if tensor.storage is not None and len(self._files) > 1 else ""
        return channels_of(tensor, f"{key.partition('/')[0]}/" if key else "")

    def filled(self, address: int, nbytes: int) -> AbstractContextManager[None]:
        """Hold the bytes at an address of a map; see `RemoteFiles.filled`."""
        return nullcontext() if self.remote is None else self.remote.filled(address, nbytes)

    def position(self, tensor: TensorInfo) -> tuple[int, int]:
        """Return the file's number and the tensor's approximate offset there, for reading in order."""
        key, file = self._holder(tensor)
        place = file.places.get(key) if file is not None else None
        if file is None or place is None:
            return 0, 0
        at = place.header if isinstance(place, Member) else place[0]
        number = next(number for number, each in enumerate(self._files) if each is file)
        return number, at + (tensor.storage.offset if tensor.storage else 0)

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

    def lacks(self, tensor: TensorInfo) -> CheckpointError:
        """Return the error for a tensor whose data is missing."""
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
