"""Renames a checkpoint's tensors as timm's `create_model` does: runs its filter functions, on ghosts too."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from freezetui.models.ghosts import Ghost, ghost_of, origins_of


def is_timm_model(module: nn.Module) -> bool:
    """Whether its class is defined in one of timm's own model files."""
    return type(module).__module__.startswith("timm.")


def filtered(core: nn.Module, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the model's names for them, resized as timm would.

    timm keeps no record of which filter a model uses: of those in the file of its class, the one that
    matches the most tensors is used; none if the names already fit.

    Args:
        core: a timm model.
        tensors: ghosts or real ones, by the file's names.
        own: the model's tensors by name.
    """
    best = dict(tensors)
    for function in _filters(core):
        if len(best) == _fitting(best, own) == len(tensors):
            break
        try:
            made = _call(function, dict(tensors), core)
        except Exception:  # the filter was written for a different file
            continue
        found = {name: value for name, value in made.items() if isinstance(value, Tensor)}
        if _fitting(found, own) > _fitting(best, own):
            best = found
    return best | _first_convolution(core, best, own)


def _filters(core: nn.Module) -> Iterator[Callable[..., Any]]:
    """Yield the functions that the model's file passes to timm's builder as `pretrained_filter_fn`."""
    module = sys.modules[type(core).__module__]
    for name, value in vars(module).items():
        if "filter" in name and inspect.isfunction(value) and value.__module__ == module.__name__:
            first = next(iter(inspect.signature(value).parameters), "")
            if first == "state_dict":
                yield value


def _call(function: Callable[..., Any], tensors: dict[str, Tensor], core: nn.Module) -> dict[str, Any]:
    """Call a filter with the model, or without it if the filter takes one argument."""
    takes = len(inspect.signature(function).parameters)
    result: dict[str, Any] = function(tensors, core) if takes > 1 else function(tensors)
    return result


def _fitting(made: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    """Return how many match a tensor of the model by name and shape."""
    return sum(name in own and own[name].shape == value.shape for name, value in made.items())


def _first_convolution(
    core: nn.Module, made: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the first convolution, which timm adapts to the model's `in_chans`."""
    config = getattr(core, "pretrained_cfg", None)
    names = config.get("first_conv") if isinstance(config, Mapping) else None
    found: dict[str, Tensor] = {}
    for name in [names] if isinstance(names, str) else names or ():
        value, live = made.get(f"{name}.weight"), own.get(f"{name}.weight")
        if value is None or live is None or value.shape == live.shape or value.ndim != live.ndim:
            continue
        if value.shape[:1] + value.shape[2:] == live.shape[:1] + live.shape[2:]:
            known = isinstance(value, Ghost)
            found[f"{name}.weight"] = ghost_of(origins_of(value), live) if known else _adapted(value, live)
    return found


def _adapted(weight: Tensor, live: Tensor) -> Tensor:
    """Return a convolution's weight for the model's number of input channels, as timm adapts it."""
    adapt = import_module("timm.models").adapt_input_conv
    result: Tensor = adapt(live.shape[1], weight)
    return result
