"""Keeps frozen norm layers, or all frozen modules, in eval mode across model.train().

A norm is a module with running statistics or spectral norm's vectors, under the names that torch gives them,
and one with tensors under any name that its own code writes depending on `self.training`; see `statistics`.
Other modules, dropout above all, follow `train()`.
"""

from __future__ import annotations

from functools import partial, reduce

from torch import nn

from freezetui.checkpoint.types import REWRITTEN
from freezetui.training.statistics import written_in_training


def frozen_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return module path -> norm layer, for all frozen ones with statistics.

    A norm without parameters of its own is frozen if all parameters of its nearest parent module with
    parameters are, and a spectral norm if its weight is.
    """
    return {
        path: module
        for path, module in model.named_modules()
        if (is_frozen(model, path) or has_frozen_spectral_norm(module)) and statistics_of(module)
    }


def frozen_statistics(model: nn.Module) -> list[str]:
    """Return the names of all buffers of frozen norms, and of those that they write in their children."""
    names = []
    for path, module in frozen_norms(model).items():
        own = [name for name, _ in module.named_buffers(recurse=False)]
        known = [name for name in statistics_of(module) if name not in module._parameters]
        names += [f"{path}.{name}" if path else name for name in dict.fromkeys((*own, *known))]
    return names


def statistics_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of tensors that the module's forward pass moves in train mode, and not in eval."""
    named = [name for name, buffer in module._buffers.items() if buffer is not None and name in REWRITTEN]
    return tuple(dict.fromkeys((*named, *written_in_training(module))))


def has_frozen_spectral_norm(module: nn.Module) -> bool:
    """Whether an old-style spectral norm belongs to a frozen weight, whatever its bias does."""
    own = dict(module._parameters.items())
    weights = [own.get(f"{name[:-2]}_orig") for name, _ in module._buffers.items() if name.endswith("_u")]
    return any(weight is not None and not weight.requires_grad for weight in weights)


def frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return module path -> module, for all whose parameters, or those of the nearest parent, are frozen."""
    return {path: module for path, module in model.named_modules() if is_frozen(model, path)}


def is_frozen(model: nn.Module, path: str) -> bool:
    """Whether all parameters of the module at `path`, or of its nearest parent with any, are frozen."""
    parameters = nearest_parameters(model, path)
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def nearest_parameters(model: nn.Module, path: str) -> list[nn.Parameter]:
    """Return all parameters of the module at `path`, or of its nearest parent with any."""
    while True:
        parameters = list(_module_at(model, path).parameters())
        if parameters or not path:
            return parameters
        path = path.rpartition(".")[0]


def _module_at(model: nn.Module, path: str) -> nn.Module:
    """Return a module by its path; a ScriptModule has no get_submodule."""
    return reduce(getattr, filter(None, path.split(".")), model)


def hold_norms(model: nn.Module, norms: dict[str, nn.Module]) -> None:
    """Keep exactly these norms in eval from now on; others kept before follow `train()` again.

    Replaces `train` on the instance, without hooks or new submodules: names in the state_dict do not
    change, copies and pickles keep it too, and torch.compile sees only the `training` flag, which it
    guards.
    """
    for path, module in model.named_modules():
        if path in norms:
            module.__dict__["train"] = partial(_stay_in_eval, module)
            module.training = False
        elif is_held(module):
            del module.__dict__["train"]
            module.train(_module_at(model, path.rpartition(".")[0]).training)


def is_held(module: nn.Module) -> bool:
    """Whether `hold_norms` keeps this module in eval."""
    held = module.__dict__.get("train")
    return isinstance(held, partial) and held.func is _stay_in_eval


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Call `module.train(mode)` for everything below the module, but not for itself."""
    type(module).train(module, mode)
    module.training = False
    return module
