"""The bytes of a distributed checkpoint's tensors, which are in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezetui.checkpoint.formats.dcp_pieces import Piece, are_rows, places_of, read_piece
from freezetui.checkpoint.mapped import check_unchanged, map_of
from freezetui.checkpoint.sources import source_of
from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.errors import CheckpointError
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.checkpoint.sources.remote_map import RemoteFiles

_JOIN = "torch.distributed.checkpoint.format_utils"


class DistributedWeights(Weights):
    """Finds the pieces of a distributed checkpoint's tensors; its files are mapped as they are needed."""

    def __init__(self, checkpoint: Checkpoint, remote: RemoteFiles | None) -> None:
        super().__init__(checkpoint, (), remote)
        metadata = source_of(source := checkpoint.parts[0].source)
        # Beside a URL, a file's parent has no listing; the directory itself has one, except over HTTP.
        self._directory = source_of(source.rpartition("/")[0]) if remote else metadata.parent()
        self._maps = dict[str, tuple[Stream, memoryview]]()
        with metadata.open() as opened:
            check_unchanged(opened, checkpoint.parts[0])
            sizes = self._directory.sizes()
            self._places = places_of(opened.file.read(opened.size), opened.name, sizes)

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
            raise self.lacks(tensor)
        return [read_piece(*self._map(place.path), place, tensor, printable(place.path)) for place in places]

    def position(self, tensor: TensorInfo) -> tuple[int, int]:
        """Return (0, 0): the files' order is not known."""
        return 0, 0

    def checksum(self, tensor: TensorInfo) -> int:
        """Return 0: its files hold no checksum of a whole tensor."""
        return 0

    def _map(self, name: str) -> tuple[Stream, memoryview]:
        """Return a file of the directory as a stream, and a map of it."""
        if name not in self._maps:
            self._maps[name] = map_of(self._directory.child(name), self.remote)[1:]
        return self._maps[name]
