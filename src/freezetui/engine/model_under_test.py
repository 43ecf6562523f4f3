"""What is checked: a model with batches for it, or the bare tensors where there is no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from freezetui.checkpoint.types import Checkpoint
from freezetui.models.build import build_model, choose_spec
from freezetui.models.load import load_tensors
from freezetui.recognition.catalog import recognize
from freezetui.sanity.protocol import CheckRequest

Batch = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class ModelUnderTest:
    """A model on its device, holding the checkpoint's weights.

    Attributes:
        model: as its factory left it, but for the weights; without a forward it may hold bare tensors only.
        batch: step -> arguments and keyword arguments of a forward; None where no forward is possible.
        device: where the model is.
        seed: of dropout and the like.
        architecture: what built the model; "" for bare tensors.
        input: shape of one example; () where it is more than one tensor of one shape.
        reason: why there is no forward; "" where there is one.
    """

    model: nn.Module
    batch: Callable[[int], Batch] | None
    device: torch.device
    seed: int = 0
    architecture: str = ""
    input: tuple[int, ...] = ()
    reason: str = ""


def load_model_under_test(
    request: CheckRequest, checkpoint: Checkpoint, device: torch.device, progress: Callable[[str], None]
) -> ModelUnderTest:
    """Build what the request names or what the names and shapes tell, else take the bare tensors.

    Args:
        progress: called with "build", "input" and "load" as each begins.

    Raises:
        ModelError: the model cannot be built, or its names and shapes are not the checkpoint's.
        CheckpointError: the file's bytes cannot be reached.
    """
    unknown = not request.architecture and recognize(checkpoint.tensors) is None
    if request.bare or unknown:
        progress("load")
        reason = "names and shapes are those of no known architecture" if unknown else "none was asked for"
        return ModelUnderTest(BareTensors(checkpoint).to(device), None, device, request.seed, reason=reason)
    spec = choose_spec(checkpoint, request.architecture)
    built = build_model(spec, request.arguments, checkpoint, request.input, progress)
    model, example = built.model.to(device), built.example
    if example is None:
        reason = f"no input was found that the model takes ({built.tried[0]})"
        return ModelUnderTest(model, None, device, request.seed, built.architecture, reason=reason)

    def batch(step: int) -> Batch:
        return example.batch(request.batch, request.seed + step, device, built.dtype)

    return ModelUnderTest(model, batch, device, request.seed, built.architecture, example.shape)


class BareTensors(nn.Module):
    """A checkpoint's tensors under their own names, and no forward."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        tensors = load_tensors(checkpoint)
        parameters: dict[int, nn.Parameter] = {}
        for info in checkpoint.tensors:
            tensor = tensors[info.name]
            # Straight into the registries: register_parameter refuses the dots.
            if info.untrainable_reason:
                self._buffers[info.name] = tensor
            else:
                self._parameters[info.name] = parameters.setdefault(id(tensor), nn.Parameter(tensor))
