"""Pickles that torch.save did not write: dicts of NumPy arrays (detectron2), whole networks (StyleGAN)."""

from __future__ import annotations

import msgspec

from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import OpenFile
from freezetui.checkpoint.state_dict.assemble import Archive, build_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError

#: Their bytes lie inside the pickle, so that all of it is read, and of a URL fetched.
_MAX_READ, _MAX_FETCH = 2**30, 2**26


def read_plain_pickle(opened: OpenFile, key: str | None) -> Checkpoint:
    """The Checkpoint in a pickle that is the whole file; its weights are shown, and not loaded.

    Raises:
        CheckpointError: a damaged pickle, one without tensors and arrays, or one that is too large.
    """
    file, size, _, name = opened
    if size > (_MAX_READ if hasattr(file, "fileno") else _MAX_FETCH):
        raise CheckpointError(
            f"{name} is a plain Python pickle, which must be read whole, and is too large for that.",
            "Where you trust it, load it and save its state_dict with torch.save.",
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
        incomplete=f"{name} is a plain Python pickle, of which no weights are loaded. Where you trust it, "
        f"convert it in Python: {convert}.",
        warnings=(
            *checkpoint.warnings,
            f"a plain Python pickle: shown, but its weights are not loaded; where you trust it: {convert}",
        ),
    )
