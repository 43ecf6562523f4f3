"""Asks the describer what a library's model calls the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import FreezeTuiError
from freezetui.freeze.name_map import NameMap
from freezetui.recognition.architecture import from_checkpoint, may_rename
from freezetui.recognition.catalog import recognize
from freezetui.session.describing import ModelDescriber


def live_names(
    checkpoint: Checkpoint, python: str, engine: bool, progress: Callable[[str], None] = lambda text: None
) -> NameMap:
    """Return the name map of the model that a library builds for a checkpoint.

    Args:
        python: the interpreter of the describer; "" for this one.
        engine: whether its process may start.

    Raises:
        FreezeTuiError: why the names are not known, in a few words.
    """
    recognition = recognize(checkpoint.tensors)
    model = from_checkpoint(checkpoint, recognition).model
    with closing(ModelDescriber(python, checkpoint, checkpoint.tensors, recognition)) as describer:
        if not may_rename(model.architecture) or not describer.can_build(model):
            raise FreezeTuiError("no known library builds this model under other names")
        if not engine:
            raise FreezeTuiError("the process that describes the model is off")
        progress("building the model without weights")
        return describer.describe(model).result().names
