"""How a script trains: dtype of the weights, autocast, torch.compile, its own batch and its own step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from freezetui.engine.batches import user_batches
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.user_objects import Batch
from freezetui.engine.user_step import UserStep
from freezetui.errors import ModelError
from freezetui.models.nested import map_tensors
from freezetui.sanity.training import Training
from freezetui.user_code import one_line

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_COMPILER = "Install a C++ compiler and Python's headers, or leave --compile out."


def in_modes(under_test: ModelUnderTest, training: Training) -> ModelUnderTest:
    """Return the model as the script trains it; casts its weights in place.

    Raises:
        ModelError: this device or this torch cannot do it, or the batch or the step cannot be used.
    """
    dtype = _DTYPES.get(training.dtype)
    if training.amp:
        under_test = replace(under_test, autocast=_autocast(under_test.device, dtype or torch.bfloat16))
    elif dtype is not None:
        under_test.model.to(dtype)
        under_test = replace(under_test, batch=_cast(under_test, dtype))
    if training.batch:
        batches = user_batches(training.batch, under_test.model, under_test.device)
        under_test = replace(under_test, batch=batches, given=f"--batch {training.batch}", reason="")
    if training.step:
        step = UserStep(training.step)
        under_test = replace(under_test, step=step, batch=step.inputs, reason="")
    return replace(under_test, forward=torch.compile(under_test.model)) if training.compile else under_test


def described_modes(training: Training) -> str:
    """Return them for display, e.g. "autocast to bfloat16, compiled"; "" as the model is."""
    dtype = training.dtype if not training.amp else f"autocast to {training.dtype or 'bfloat16'}"
    return ", ".join(filter(None, (dtype, "compiled" if training.compile else "")))


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if dtype == torch.float32:
        raise ModelError(
            "--amp computes in bfloat16 or float16.", "Pass --dtype bfloat16 or float16, or none."
        )
    with torch.autocast(device.type, dtype):
        if torch.is_autocast_enabled(device.type):
            return dtype
    raise ModelError(
        f"torch {torch.__version__} has no autocast to {name} on {device.type}.",
        "Pass another --dtype, or another --device.",
    )


def _cast(under_test: ModelUnderTest, dtype: torch.dtype) -> Callable[[int], Batch] | None:
    batch = under_test.batch
    if batch is None:
        return None

    def in_dtype(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def cast(step: int) -> Batch:
        args, kwargs = batch(step)
        return map_tensors(args, in_dtype), map_tensors(kwargs, in_dtype)

    return cast


@contextmanager
def compiling() -> Iterator[None]:
    """Turn an error of torch.compile itself into one line.

    Raises:
        ModelError: it failed.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = one_line(error).split(" Set TORCHDYNAMO_VERBOSE")[0].split(" Please set ")[0]
        raise ModelError(f"torch.compile failed: {reason}.", _COMPILER) from error
