"""The model under test and its batches; bare tensors if there is no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.engine.user_objects import Batch
from freezetui.engine.user_step import UserStep
from freezetui.freeze.name_map import NameMap
from freezetui.model_spec import ModelSpec
from freezetui.models.build import build_model
from freezetui.models.load import load_tensors
from freezetui.recognition.adapters import adapter_of
from freezetui.recognition.pickled_class import class_line
from freezetui.sanity.protocol import CheckRequest

_UNKNOWN = "no known architecture matches its parameter names and shapes"


@dataclass(frozen=True)
class ModelUnderTest:
    """A model on its device, with the checkpoint's weights.

    Attributes:
        model: as its factory built it, except for the weights; may be bare tensors if there is no forward.
        batch: step -> arguments and keyword arguments of a forward; None if no forward is possible.
        device: the model's device.
        seed: for dropout and other random operations.
        spec: what built the model, with the shape of one example; empty for bare tensors.
        reason: why there is no forward; "" if there is one.
        suggestion: what may build the model if nothing did: "SPEC", or the class named in the file.
        tensors: the checkpoint's, whose names the config speaks of; None to go by the model's names.
        autocast: the dtype that forward passes compute in under autocast; None without.
        forward: the compiled model, to be called in place of the model; None if it is not compiled.
        step: the user's own training step, which brings its own batch; None without.
        given: what the user has given as the batch, for messages; "" if it was found.
        names: which tensors of the checkpoint each of the model's is made of; None if there is no model.
    """

    model: nn.Module
    batch: Callable[[int], Batch] | None
    device: torch.device
    seed: int = 0
    spec: ModelSpec = field(default_factory=ModelSpec)
    reason: str = ""
    suggestion: str = "SPEC"
    tensors: Sequence[TensorInfo] | None = None
    names: NameMap | None = None
    autocast: torch.dtype | None = None
    forward: Callable[..., Any] | None = None
    step: UserStep | None = None
    given: str = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a forward pass as the script does: under autocast, compiled."""
        run = self.model if self.forward is None else self.forward
        with torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext():
            return run(*args, **kwargs)

    def take_step(self, optimizer: Any) -> Any:
        """Run the user's own step once, and return what it returns; with `step` only.

        Raises:
            ModelError: it raised.
        """
        assert self.step is not None
        called = self.model if self.forward is None else self.forward
        return self.step(self.model, called, optimizer, self.device)


def load_model_under_test(
    request: CheckRequest, checkpoint: Checkpoint, device: torch.device, progress: Callable[[str], None]
) -> ModelUnderTest:
    """Build the request's model, or use the bare tensors if it has no architecture.

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
            tensors=checkpoint.tensors,
        )
    root = request.config.model.root
    own_input = bool(request.training.batch or request.training.step)
    built = build_model(request.model, checkpoint, request.recognition, device, progress, root, own_input)
    example = built.example
    reason = "" if example or own_input else f"no input was found that the model accepts ({built.tried[0]})"

    def batch(step: int) -> Batch:
        assert example is not None
        return example.batch(request.batch, request.seed + step, device, built.dtype)

    return ModelUnderTest(
        built.model,
        batch if example else None,
        device,
        request.seed,
        built.spec,
        reason,
        tensors=checkpoint.tensors,
        names=built.names,
    )


def _suggestion(checkpoint: Checkpoint) -> str:
    """Return what builds an adapter's model, or the class of a pickled module as a spec; else "SPEC"."""
    adapter = adapter_of(checkpoint.source)
    if adapter is not None and adapter.line:
        return adapter.line
    return class_line(checkpoint.module_types) or "SPEC"


class BareTensors(nn.Module):
    """A checkpoint's tensors under their own names, and no forward."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        super().__init__()
        tensors = load_tensors(checkpoint, device)
        parameters: dict[int, nn.Parameter] = {}
        for info in checkpoint.tensors:
            tensor = tensors[info.name]
            # Directly into the registries: register_parameter rejects names with dots.
            if info.untrainable_reason:
                self._buffers[info.name] = tensor
            else:
                self._parameters[info.name] = parameters.setdefault(id(tensor), nn.Parameter(tensor))
