"""Architecture: what builds a checkpoint's model, and where that information comes from. Knows no torch."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ModelSection
from freezetui.model_spec import ModelSpec
from freezetui.recognition.catalog import Recognition

#: Builders whose names a config may give without a question: no code but these libraries' own is run.
_LIBRARIES = ("torchvision:", "transformers:")


class Architecture(msgspec.Struct, frozen=True):
    """What builds the model that the check runs.

    Attributes:
        model: what builds it; without an architecture only the tensors are checked.
        label: for the user.
        trusted: whether it may be imported: the user named it, or it is a library's own.
        tensors_only: whether the user chose to go without, so that none is asked for.
    """

    model: ModelSpec = ModelSpec()
    label: str = "architecture unknown"
    trusted: bool = True
    tensors_only: bool = False


def from_checkpoint(checkpoint: Checkpoint, recognition: Recognition | None) -> Architecture:
    """Return what the checkpoint's names and shapes tell, else what the config.json beside it names."""
    if recognition is not None:
        return Architecture(recognition.model, recognition.label)
    label = checkpoint.label or checkpoint.model.architecture
    return Architecture(checkpoint.model, label) if label else Architecture()


def from_user(model: ModelSpec, detected: Architecture) -> Architecture:
    """Return what the user named; an empty architecture means the tensors only.

    Args:
        detected: what `from_checkpoint` returned; the same architecture keeps its label.
    """
    if not model.architecture:
        return Architecture(model, "no architecture (tensors only)", tensors_only=True)
    return Architecture(model, _label(model, detected))


def from_config(model: ModelSection, directory: Path, detected: Architecture) -> Architecture:
    """Return what a config in `directory` names, relative to the working directory.

    Args:
        detected: what `from_checkpoint` returned; an identical spec is trusted.
    """
    if not model.architecture:
        return msgspec.structs.replace(
            detected, model=msgspec.structs.replace(detected.model, input=model.input)
        )
    named = ModelSpec(moved_path(model.architecture, directory, Path()), dict(model.arguments), model.input)
    is_detected = msgspec.structs.replace(named, input=()) == msgspec.structs.replace(
        detected.model, input=()
    )
    trusted = named.architecture.startswith(_LIBRARIES) or is_detected
    return Architecture(named, _label(named, detected), trusted)


def moved_path(spec: str, old: Path, new: Path) -> str:
    """Return `path/to/file.py:callable` of directory `old` relative to `new`; other specs as they are."""
    source, _, name = spec.rpartition(":")
    if not source.endswith(".py") or Path(source).is_absolute():
        return spec
    return f"{Path(os.path.relpath(old.resolve() / source, new.resolve())).as_posix()}:{name}"


def _label(model: ModelSpec, detected: Architecture) -> str:
    is_detected = model.architecture == detected.model.architecture
    return detected.label if is_detected else model.architecture
