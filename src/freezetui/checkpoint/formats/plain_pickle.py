"""Reads pickles not written by torch.save: dicts of NumPy arrays (detectron2), whole networks (StyleGAN)."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import OpenFile
from freezetui.checkpoint.state_dict.assemble import Archive, build_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError

#: The tensors' bytes are inside the pickle, so all of it must be read, or fetched from a URL.
_MAX_READ, _MAX_FETCH = 2**30, 2**26


def read_plain_pickle(opened: OpenFile, key: str | None) -> Checkpoint:
    """Return the Checkpoint in a file that is one pickle; its weights are listed but cannot be loaded.

    Raises:
        CheckpointError: the pickle is corrupt, too large, or has neither tensors nor arrays.
    """
    file, size, _, name = opened
    if size > (_MAX_READ if hasattr(file, "fileno") else _MAX_FETCH):
        raise CheckpointError(
            f"{name} is a plain Python pickle, which must be read as a whole; it is too large for that.",
            "If you trust it, load it and save its state_dict with torch.save.",
        )
    unpickled = read_pickle(file.read(size), name)
    checkpoint = build_checkpoint(
        Archive(unpickled.value, unpickled.foreign, unpickled.called), name, "pickle", key
    )
    if checkpoint.incomplete:
        return checkpoint
    convert = "torch.save(pickle.load(open(FILE, 'rb')), 'model.pth')"
    return msgspec.structs.replace(
        checkpoint,
        incomplete=f"{name} is a plain Python pickle, whose weights cannot be loaded. If you trust it, "
        f"convert it in Python: {convert}.",
        warnings=(
            *checkpoint.warnings,
            f"a plain Python pickle, whose weights cannot be loaded; if you trust it, convert it: {convert}",
        ),
    )
