"""Architecture: what builds the model of a checkpoint, and who says so. Knows no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ModelSection
from freezetui.recognition.catalog import Recognition

#: Builders whose names a config may tell without a question: no code but these libraries' own is run.
_LIBRARIES = ("torchvision:", "transformers:")


class Architecture(msgspec.Struct, frozen=True):
    """What builds the model that the sanity step runs.

    Attributes:
        spec: "torchvision:NAME", "package.module:callable" or "path/to/file.py:callable"; "" for none.
        arguments: keyword arguments for it.
        input: shape of one example, without the batch dimension; () finds one.
        label: for people.
        asked: whether it may be imported: a person named it, or it is a library's own.
        bare: whether a person chose to go without, so that nothing is looked for.
    """

    spec: str = ""
    arguments: dict[str, Any] = {}
    input: tuple[int, ...] = ()
    label: str = "architecture not recognised"
    asked: bool = True
    bare: bool = False


def known(checkpoint: Checkpoint, recognition: Recognition | None) -> Architecture:
    """What the checkpoint tells of itself: by its names and shapes, else by what lies beside it."""
    if recognition is not None:
        return Architecture(recognition.architecture, dict(recognition.arguments), label=recognition.label)
    if checkpoint.architecture:
        label = checkpoint.label or checkpoint.architecture
        return Architecture(checkpoint.architecture, checkpoint.arguments, label=label)
    return Architecture(label=checkpoint.label) if checkpoint.label else Architecture()


def named(spec: str, arguments: dict[str, Any], input: tuple[int, ...], told: Architecture) -> Architecture:
    """What a person named; "" is none at all.

    Args:
        told: what the checkpoint tells of itself; a person who names the same means the same.
    """
    label = told.label if spec == told.spec else spec
    return Architecture(spec, arguments, input, label if spec else "tensors alone", bare=not spec)


def remembered(model: ModelSection, folder: Path, told: Architecture) -> Architecture:
    """What a config in `folder` says of the model it was made for, told from the working folder.

    Args:
        told: what the checkpoint tells of itself; whoever says the same may be believed.
    """
    if not model.architecture:
        return msgspec.structs.replace(told, input=model.input)
    spec = moved_path(model.architecture, folder, Path())
    is_told = (spec, model.arguments) == (told.spec, told.arguments)
    asked = spec.startswith(_LIBRARIES) or is_told
    label = told.label if spec == told.spec else spec
    return Architecture(spec, dict(model.arguments), model.input, label, asked)


def moved_path(spec: str, old: Path, new: Path) -> str:
    """`path/to/file.py:callable` relative to folder `old`, told relative to `new`; others as they are."""
    source, _, name = spec.rpartition(":")
    if not source.endswith(".py") or Path(source).is_absolute():
        return spec
    return f"{Path(os.path.relpath(old.resolve() / source, new.resolve())).as_posix()}:{name}"
