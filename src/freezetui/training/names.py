"""Names the parameters of a live model as a checkpoint does, and builds their tree."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from freezetui.checkpoint.state_dict.wrappers import unwrap
from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.tree import ParamTree

#: Classes that wrap their child `module`. The name alone is not enough: it may be the model's own.
_PARALLEL = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")


class LiveParameters:
    """The parameters of a live model, under all of their names.

    Names are those that the reader gives to a checkpoint of the model: without the segments of wrappers,
    which are found from everything in its state_dict, buffers included.

    Args:
        model: is not changed.
        parallel: whether to strip the `module` of DDP and similar wrappers inside the model too: a file
            saved before a part was wrapped does not have it, one saved afterwards does.

    Attributes:
        tree: what rules are resolved on; parameters that are one object or share their memory are tied.
        parameters: one per tensor of the tree, in its order.

    Raises:
        ConfigError: a lazy parameter has no shape yet.
    """

    def __init__(self, model: nn.Module, parallel: bool = True) -> None:
        live = dict(_parameters(model))
        lazy = next((name for name, parameter in live.items() if is_lazy(parameter)), None)
        if lazy is not None:
            raise ConfigError(
                f"{lazy} is a lazy parameter without a shape.",
                "Run one forward pass before applying a config.",
            )
        names = [*live, *_persistent_buffers(model)]
        self._parallel = _parallel_prefixes(model) if parallel else []
        short = [self._without_parallel(name) for name in names]
        if len(set(short)) < len(names):
            self._parallel, short = [], names
        self._unwrapped = unwrap(short)
        by_name = dict(zip(self._unwrapped.names, live.values(), strict=False))
        self.tree = ParamTree([_info(name, parameter) for name, parameter in by_name.items()])
        self.parameters = [by_name[tensor.name] for tensor in self.tree.tensors]

    def path(self, path: str) -> str:
        """Return a module's path without the segments of wrappers."""
        return self._unwrapped.path(self._without_parallel(path))

    def _without_parallel(self, name: str) -> str:
        for inner in self._parallel:
            if f"{name}.".startswith(inner):
                name = (inner.removesuffix("module.") + name[len(inner) :]).removesuffix(".")
        return name


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield all parameters by name, tied ones under each; named_parameters of some wrappers renames them."""
    for path, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{path}.{name}" if path else name, parameter


def _persistent_buffers(model: nn.Module) -> Iterator[str]:
    """Yield the names of the buffers in a state_dict."""
    for path, module in model.named_modules(remove_duplicate=False):
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield f"{path}.{name}" if path else name


def _parallel_prefixes(model: nn.Module) -> list[str]:
    """Return the prefixes of models inside DDP and similar wrappers, the innermost first."""
    modules = [*model.named_modules(remove_duplicate=False)]
    paths = [path for path, module in modules if type(module).__name__ in _PARALLEL]
    return [f"{path}.module." if path else "module." for path in reversed(paths)]


def _info(name: str, parameter: nn.Parameter) -> TensorInfo:
    return TensorInfo(
        name=name,
        shape=tuple(parameter.shape),
        dtype=str(parameter.dtype).removeprefix("torch."),
        kind="parameter",
        requires_grad=parameter.requires_grad,
        storage=storage_of(parameter),
    )


def storage_of(parameter: nn.Parameter) -> StorageKey:
    """Return a parameter's storage: its address if plain, so that Parameters that share memory are tied."""
    if type(parameter) is nn.Parameter and parameter.layout == torch.strided and parameter.data_ptr():
        return StorageKey(f"{parameter.device}:{parameter.data_ptr()}", 0, parameter.stride())
    return StorageKey(f"object:{id(parameter)}")
