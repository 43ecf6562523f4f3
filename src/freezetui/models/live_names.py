"""Lists the tensors of a live model, by names with and without the segments that wrappers add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from freezetui.checkpoint.state_dict.wrappers import SEGMENTS
from freezetui.errors import ConfigError
from freezetui.text import kind_of

#: Class -> the attribute with the module that it wraps. Wrappers are recognized by class, never by the
#: segment alone: "module" and "base_layer" may be a user's own names.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
    "ActivationWrapper": "_checkpoint_wrapped_module",
    "AveragedModel": "module",
    "DeepSpeedEngine": "module",
    "_FabricModule": "_forward_module",
}
#: The same for PEFT's classes: everything in them except the wrapped module belongs to an adapter.
_ADAPTERS = {
    "PeftModel": "base_model",
    "BaseTuner": "model",
    "BaseTunerLayer": "base_layer",
    "AuxiliaryTrainingWrapper": "original_module",
    "ModulesToSaveWrapper": "original_module",
}
Role = Literal["base", "adapter", "copy"]


class Live(NamedTuple):
    """One parameter or persistent buffer, under one of its names.

    Attributes:
        name: as `named_parameters(remove_duplicate=False)` spells it.
        plain: the name without wrappers' segments; that of the original for a copy of `modules_to_save`.
        tensor: the live tensor itself.
        role: "base" for the model's own, "adapter" for what PEFT added, "copy" for its trained copies.
    """

    name: str
    plain: str
    tensor: Tensor
    role: Role

    @property
    def kind(self) -> Literal["parameter", "buffer"]:
        """Whether it is a parameter or a buffer."""
        return "parameter" if isinstance(self.tensor, nn.Parameter) else "buffer"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape before quantization or sharding, if they record it; else the tensor's own."""
        state = getattr(self.tensor, "quant_state", None)  # bitsandbytes, 4 bits
        whole = getattr(state, "shape", None) or getattr(self.tensor, "ds_shape", None)  # DeepSpeed, ZeRO 3
        return tuple(self.tensor.shape if whole is None else whole)


def require_module(model: object, what: str) -> None:
    """Raise a ConfigError if that is not a model, such as a state_dict, or a trainer.

    Args:
        what: needs the model, for the message.
    """
    if isinstance(model, nn.Module):
        return
    hint = "Pass the model itself."
    for name in ("model", "module"):
        if isinstance(getattr(model, name, None), nn.Module):
            hint = f"Pass its .{name}."
    raise ConfigError(f"{what} needs a torch.nn.Module, not {kind_of(model)}.", hint)


def ancestry(module: nn.Module) -> set[str]:
    """Return the names of the module's class and its bases, to recognize libraries without importing them."""
    return {cls.__name__ for cls in type(module).__mro__}


def wrapped(module: nn.Module) -> str:
    """Return the attribute with the module that a wrapper wraps; "" if it is not a wrapper."""
    classes = ancestry(module)
    for name, attribute in (_ADAPTERS | _WRAPPERS).items():
        if name in classes and isinstance(getattr(module, attribute, None), nn.Module):
            return attribute
    return ""


def is_adapter(module: nn.Module) -> bool:
    """Whether this is a module of PEFT that wraps another one."""
    return not ancestry(module).isdisjoint(_ADAPTERS)


def unwrap(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the model inside all wrappers, and the prefix that they add to its names."""
    prefix = ""
    while attribute := wrapped(model):
        model, prefix = getattr(model, attribute), f"{prefix}{attribute}."
    return model, prefix


def plain_path(path: str) -> str:
    """Return a module path without the segments that only wrappers add."""
    return ".".join(segment for segment in path.split(".") if segment not in SEGMENTS)


def live_tensors(module: nn.Module, name: str = "", plain: str = "", role: Role = "base") -> Iterator[Live]:
    """Yield every parameter and persistent buffer, tied ones under each name.

    Args:
        module: where to start.
        name, plain: the prefix of its names, dot included, with and without wrappers.
        role: the role of everything below it.
    """
    attribute, adapter = wrapped(module), is_adapter(module)
    own: Role = "adapter" if adapter and role == "base" else role
    for key, tensor in module._parameters.items():
        if tensor is not None:
            yield Live(name + key, plain + key, tensor, own)
    for key, buffer in module._buffers.items():
        if buffer is not None and key not in getattr(module, "_non_persistent_buffers_set", ()):
            yield Live(name + key, plain + key, buffer, own)
    for key, child in module._modules.items():
        if child is None:
            continue
        if key == attribute or (key == "_original_module" and attribute == "_forward_module"):
            yield from live_tensors(child, f"{name}{key}.", plain, role)
        elif adapter and key == "modules_to_save" and attribute == "original_module":
            for adapter_name, copy in child._modules.items():
                if copy is not None:
                    yield from live_tensors(copy, f"{name}{key}.{adapter_name}.", plain, "copy")
        elif attribute == "original_module" and wrapped(child) == "base_layer":
            # PEFT's trainable tokens keep the original inside the adapter that they add next to it
            yield from live_tensors(child, f"{name}{key}.", plain, role)
        else:
            yield from live_tensors(child, f"{name}{key}.", f"{plain}{key}.", own)


def plain_names(names: Iterable[str], rows: Iterable[Live], prefix: str = "") -> dict[str, str]:
    """Return a file's name -> the plain name in the model, for names with `module` segments on either side.

    A model whose body alone is in a `DataParallel` saves `body.module.0.weight`.

    Args:
        names: the file's.
        rows: the live tensors that the file belongs to.
        prefix: of the rows' names.
    """
    own = [row for row in rows if row.role == "base"]
    plain = {row.plain for row in own}
    wrapped_names = {row.name[len(prefix) :]: row.plain for row in own}
    found = {name: name if name in plain else wrapped_names.get(name, name) for name in names}
    taken = set(found.values())
    for name in found:
        bare = ".".join(segment for segment in name.split(".") if segment != "module")
        if found[name] not in plain and bare in plain and bare not in taken:
            found[name] = bare
            taken.add(bare)
    return found


def can_train(tensor: Tensor) -> bool:
    """Whether torch computes gradients for tensors of this dtype."""
    return tensor.is_floating_point() or tensor.is_complex()


def same_tensor(tensor: Tensor) -> object:
    """Return a key that is equal for two names of one tensor: one object, or the same memory."""
    if type(tensor) in (nn.Parameter, Tensor) and tensor.layout == torch.strided and tensor.data_ptr():
        return tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
    return id(tensor)


def submodule(model: nn.Module, root: str) -> tuple[nn.Module, str] | None:
    """Return the module at a path without wrappers' segments, and its names' prefix; None without one."""
    module, prefix = unwrap(model)
    for segment in filter(None, root.split(".")):
        child = dict(module._modules.items()).get(segment)  # a ScriptModule's has no get()
        if child is None:
            return None
        module, inner = unwrap(child)
        prefix = f"{prefix}{segment}.{inner}"
    return module, prefix
