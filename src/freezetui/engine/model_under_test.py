"""The model under test and its batches; bare tensors where there is no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from freezetui.checkpoint.types import Checkpoint
from freezetui.model_spec import ModelSpec
from freezetui.models.build import build_model
from freezetui.models.load import load_tensors
from freezetui.sanity.protocol import CheckRequest

Batch = tuple[tuple[Any, ...], dict[str, Any]]

_UNKNOWN = "no known architecture matches its parameter names and shapes"


@dataclass(frozen=True)
class ModelUnderTest:
    """A model on its device, holding the checkpoint's weights.

    Attributes:
        model: as its factory left it, but for the weights; without a forward it may hold bare tensors only.
        batch: step -> arguments and keyword arguments of a forward; None where no forward is possible.
        device: where the model is.
        seed: of dropout and the like.
        spec: what built the model, with the shape of one example; empty for bare tensors.
        reason: why there is no forward; "" where there is one.
        suggestion: what may build the model where nothing did: "SPEC", or the class that the file names.
    """

    model: nn.Module
    batch: Callable[[int], Batch] | None
    device: torch.device
    seed: int = 0
    spec: ModelSpec = field(default_factory=ModelSpec)
    reason: str = ""
    suggestion: str = "SPEC"


def load_model_under_test(
    request: CheckRequest, checkpoint: Checkpoint, device: torch.device, progress: Callable[[str], None]
) -> ModelUnderTest:
    """Build the request's model, or without an architecture take the bare tensors.

    Args:
        progress: called with "build", "input" and "load" as each begins.

    Raises:
        ModelError: the model cannot be built, or its names and shapes are not the checkpoint's.
        CheckpointError: the file's bytes cannot be reached.
    """
    if not request.model.architecture:
        progress("load")
        is_known = request.recognition is not None
        return ModelUnderTest(
            BareTensors(checkpoint, device),
            None,
            device,
            request.seed,
            reason="no architecture requested" if is_known else _UNKNOWN,
            suggestion=_suggestion(checkpoint),
        )
    built = build_model(request.model, checkpoint, request.recognition, device, progress)
    example = built.example
    if example is None:
        reason = f"no input was found that the model accepts ({built.tried[0]})"
        return ModelUnderTest(built.model, None, device, request.seed, built.spec, reason)

    def batch(step: int) -> Batch:
        return example.batch(request.batch, request.seed + step, device, built.dtype)

    return ModelUnderTest(built.model, batch, device, request.seed, built.spec)


def _suggestion(checkpoint: Checkpoint) -> str:
    """Return the class that a pickled module names, as a spec; "SPEC" where the file names none."""
    module, _, name = checkpoint.module_types.get("", "").rpartition(".")
    return f"{module}:{name}" if module else "SPEC"


class BareTensors(nn.Module):
    """A checkpoint's tensors under their own names, and no forward."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        super().__init__()
        tensors = load_tensors(checkpoint, device)
        parameters: dict[int, nn.Parameter] = {}
        for info in checkpoint.tensors:
            tensor = tensors[info.name]
            # Straight into the registries: register_parameter refuses the dots.
            if info.untrainable_reason:
                self._buffers[info.name] = tensor
            else:
                self._parameters[info.name] = parameters.setdefault(id(tensor), nn.Parameter(tensor))
