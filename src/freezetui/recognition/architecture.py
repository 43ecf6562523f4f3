"""Architecture: what builds a checkpoint's model, and where that comes from. Does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ModelSection
from freezetui.model_spec import ModelSpec
from freezetui.recognition.catalog import Recognition
from freezetui.recognition.families import misfit

#: Builders that a config may name without confirmation: only these libraries' own code is run.
_LIBRARIES = ("torchvision:", "transformers:")
#: Libraries that may call parameters otherwise than a checkpoint does.
_RENAMING = ("transformers:", "timm")


_UNKNOWN = "architecture unknown"


class Architecture(msgspec.Struct, frozen=True):
    """The model architecture for the check.

    Attributes:
        model: what builds it; without an architecture only the tensors are checked.
        label: for display.
        trusted: whether it may be imported: the user chose it, or it is a library's own.
        tensors_only: whether the user chose to have no architecture, so that the UI does not ask for one.
        misfit: why the file cannot be of it, by its names alone; "" if it may be.
    """

    model: ModelSpec = ModelSpec()
    label: str = _UNKNOWN
    trusted: bool = True
    tensors_only: bool = False
    misfit: str = ""

    @property
    def is_named(self) -> bool:
        """Whether anything is known of it, be it only what the file calls itself."""
        return self.label != _UNKNOWN


def from_checkpoint(checkpoint: Checkpoint, recognition: Recognition | None) -> Architecture:
    """Return the architecture recognized by names and shapes, else the one in the config.json next to it."""
    if recognition is not None:
        return Architecture(recognition.model, recognition.label)
    label = checkpoint.label or checkpoint.model.architecture
    wrong = misfit(checkpoint.model.architecture, (tensor.name for tensor in checkpoint.tensors))
    return Architecture(checkpoint.model, label, misfit=wrong) if label else Architecture()


def from_user(model: ModelSpec, detected: Architecture) -> Architecture:
    """Return the user's architecture; an empty one means the tensors only.

    Args:
        detected: what `from_checkpoint` returned; the same architecture keeps its label.
    """
    if not model.architecture:
        return Architecture(model, "no architecture (tensors only)", tensors_only=True)
    return Architecture(model, _label(model, detected), misfit=_misfit(model, detected))


def from_config(model: ModelSection, directory: Path, detected: Architecture) -> Architecture:
    """Return the architecture of a config in `directory`, relative to the working directory.

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
    return Architecture(named, _label(named, detected), trusted, misfit=_misfit(named, detected))


def is_library_model(spec: str) -> bool:
    """Whether torchvision, timm or transformers builds this architecture, so that no user code is run."""
    return spec.startswith(_LIBRARIES) or spec == "timm:create_model"


def may_rename(spec: str) -> bool:
    """Whether the library that builds this architecture may call parameters otherwise than a checkpoint."""
    return spec.startswith(_RENAMING)


def model_name(spec: ModelSpec) -> str:
    """Return what a library calls a model: "vgg16"; "" for other specs, and where the name is an argument."""
    if not is_library_model(spec.architecture):
        return ""
    if spec.architecture == "timm:create_model":
        return str(spec.arguments.get("model_name", ""))
    name = spec.architecture.partition(":")[2]
    return "" if name.startswith("Auto") else name


def moved_path(spec: str, old: Path, new: Path) -> str:
    """Return `path/to/file.py:callable` of directory `old` relative to `new`; other specs unchanged."""
    source, _, name = spec.rpartition(":")
    if not source.endswith(".py") or Path(source).is_absolute():
        return spec
    return f"{Path(os.path.relpath(old.resolve() / source, new.resolve())).as_posix()}:{name}"


def _label(model: ModelSpec, detected: Architecture) -> str:
    is_detected = model.architecture == detected.model.architecture
    return detected.label if is_detected else model.architecture


def _misfit(model: ModelSpec, detected: Architecture) -> str:
    return detected.misfit if model.architecture == detected.model.architecture else ""
