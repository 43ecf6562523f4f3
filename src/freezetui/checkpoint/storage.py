"""The bytes of the tensors: read through a private memory map, never unpickled, never written.

Behind a URL, the map is filled with ranges of the file as they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from freezetui.checkpoint.formats.detect import METADATA
from freezetui.checkpoint.mapped import mapped
from freezetui.checkpoint.sources.urls import is_url, name_of, shown_source
from freezetui.checkpoint.types import Checkpoint
from freezetui.checkpoint.weights import Weights
from freezetui.errors import CheckpointError


@contextmanager
def open_weights(checkpoint: Checkpoint, urls: bool = False) -> Iterator[Weights]:
    """Open the bytes of a checkpoint's tensors.

    Args:
        urls: whether files may be behind URLs; their bytes must then be `Weights.filled`.

    Raises:
        CheckpointError: the checkpoint is `incomplete`; or a file is corrupt, has changed since its header
            was read, was written on a machine of the other byte order, or is remote without `urls`.
    """
    if checkpoint.incomplete:
        raise CheckpointError(checkpoint.incomplete)
    distant = next((part.source for part in checkpoint.parts if is_url(part.source)), "")
    if distant and not urls:
        raise CheckpointError(
            f"{shown_source(distant)} is remote; its weights are needed on this machine.",
            "Download it and pass the copy.",
        )
    with ExitStack() as stack:
        remote = None
        if distant:
            from freezetui.checkpoint.sources.remote_map import RemoteFiles  # imports fsspec

            remote = RemoteFiles(stack)
        first = checkpoint.parts[0].source if checkpoint.parts else ""
        if name_of(first) == METADATA:
            from freezetui.checkpoint.distributed import DistributedWeights  # imports what reads pickles

            yield DistributedWeights(checkpoint, remote)
        else:
            yield Weights(checkpoint, [mapped(part, remote) for part in checkpoint.parts], remote)
