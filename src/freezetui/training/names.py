"""The names of a live model as a checkpoint spells them, and its parameters as a tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.tree import ParamTree

_WRAPPED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_PARALLEL = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
_PREFIXES = ("module.", "base_model.model.")


def clean_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Live name -> the name without what DDP, FSDP, torch.compile and PEFT put into it.

    Where that would make two names equal, nothing is taken off.
    """
    wrapped = {f"{path}.module" if path else "module" for path in _parallel_paths(model)}
    clean = {name: _unwrapped(name, wrapped) for name in names}
    while prefix := next(
        (p for p in _PREFIXES if clean and all(n.startswith(p) for n in clean.values())), ""
    ):
        clean = {name: short[len(prefix) :] for name, short in clean.items()}
    return clean if len(set(clean.values())) == len(clean) else {name: name for name in clean}


def _common_prefix(names: Collection[str]) -> str:
    return next((prefix for prefix in _PREFIXES if names and all(n.startswith(prefix) for n in names)), "")


def _parallel_paths(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if type(module).__name__ in _PARALLEL]


def _unwrapped(name: str, wrapped: set[str]) -> str:
    segments = name.split(".")
    paths = (".".join(segments[: i + 1]) for i in range(len(segments)))
    return ".".join(
        segment
        for segment, path in zip(segments, paths, strict=True)
        if segment not in _WRAPPED and path not in wrapped
    )


class LiveParameters:
    """The parameters of a live model, under every name they have.

    Attributes:
        tree: what rules are resolved on; parameters that are one object or one piece of memory are tied.
        parameters: one per tensor of the tree, in its order.

    Raises:
        ConfigError: a lazy parameter has no shape yet.
    """

    def __init__(self, model: nn.Module) -> None:
        live = dict(model.named_parameters(remove_duplicate=False))
        lazy = next((name for name, parameter in live.items() if is_lazy(parameter)), None)
        if lazy is not None:
            raise ConfigError(
                f"{lazy} is a lazy parameter without a shape.",
                "Run one forward pass before applying a config.",
            )
        clean = clean_names(model, live)
        by_name = {clean[name]: parameter for name, parameter in live.items()}
        self.tree = ParamTree([_info(name, parameter) for name, parameter in by_name.items()])
        self.parameters = [by_name[tensor.name] for tensor in self.tree.tensors]

    @property
    def names(self) -> list[str]:
        """One per parameter, tied ones under each name."""
        return [tensor.name for tensor in self.tree.tensors]


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
    """Where it lies: the address of plain tensors, so that two Parameters on one memory are tied too."""
    if type(parameter) is nn.Parameter and parameter.layout == torch.strided and parameter.data_ptr():
        return StorageKey(f"{parameter.device}:{parameter.data_ptr()}", 0, parameter.stride())
    return StorageKey(f"object:{id(parameter)}")
