"""The user's own batch: from a function, or from a `.pt` file that is read without unpickling code."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from freezetui.engine.user_objects import Batch, user_object
from freezetui.errors import ModelError
from freezetui.models.nested import map_tensors
from freezetui.text import kind_of
from freezetui.user_code import one_line, user_code

_FILES = (".pt", ".pth")
_SAVE = "Save tensors in dicts, tuples and lists: torch.save(batch, FILE)."


def user_batches(text: str, model: nn.Module, device: torch.device) -> Callable[[int], Batch]:
    """Return step -> arguments of a forward on the device, as `--batch` says; float32 as the weights are.

    Raises:
        ModelError: the file or the function is missing, or what the file holds cannot be read.
    """
    make = _saved(text) if text.endswith(_FILES) else _called(text, device)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype) if tensor.dtype == torch.float32 else tensor.to(device)

    def batch(step: int) -> Batch:
        args, kwargs = arguments_of(make(step), model)
        return map_tensors(args, moved), map_tensors(kwargs, moved)

    return batch


def arguments_of(batch: Any, model: nn.Module) -> Batch:
    """Return the arguments and keyword arguments of a forward that a batch stands for.

    A dict is keyword arguments and a tuple is arguments, as far as `forward` takes them so: else it takes
    the batch as it is, or the first items of a tuple, as of (images, labels). Anything else is one argument;
    a pair of a tuple and a dict is both.
    """
    both = isinstance(batch, tuple) and len(batch) == 2
    if both and isinstance(batch[0], tuple) and isinstance(batch[1], dict):
        return batch[0], dict(batch[1])
    names = _required(model.forward)
    if names[:1] == ["batch"]:  # a training_step(batch, batch_idx), as Lightning has it
        return (batch, *(0 for _ in names[1:])), {}
    if isinstance(batch, Mapping) and all(isinstance(key, str) for key in batch):
        named = {str(key): value for key, value in batch.items()}
        return ((), named) if _takes(model, (), named) or not _takes(model, (batch,), {}) else ((batch,), {})
    if isinstance(batch, tuple):
        if _takes(model, batch, {}):
            return batch, {}
        fitting = (batch[:count] for count in range(len(batch) - 1, 0, -1))
        first = next((part for part in fitting if _takes(model, part, {})), None)
        return (batch, {}) if first is None else (first, {})
    return (batch,), {}


def _takes(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # without a signature
        return True
    return True


def _saved(path: str) -> Callable[[int], Any]:
    if not Path(path).is_file():
        raise ModelError(f"--batch {path!r}: no such file.", _SAVE)
    try:
        batch = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(f"--batch {path} holds more than tensors, and is not unpickled.", _SAVE) from None
    except Exception as error:  # a damaged file may raise anything
        raise ModelError(f"--batch {path} cannot be read: {one_line(error)}.", _SAVE) from None
    return lambda step: batch


def _called(text: str, device: torch.device) -> Callable[[int], Any]:
    function = user_object(text, "--batch")
    if not callable(function):
        raise ModelError(f"--batch {text} is {kind_of(function)}, not a function.")
    names = _required(function)

    def make(step: int) -> Any:
        with user_code(f"--batch {text}"):
            batch = function(*(device if "device" in name else step for name in names))
        if batch is None:
            raise ModelError(
                f"--batch {text} returned None.", "Return a tensor, a tuple or a dict of tensors."
            )
        return batch

    return make


def _required(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a function must be given: a device, a step, or none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
