"""Keeps frozen norm layers, or all frozen modules, in eval mode across model.train()."""

from __future__ import annotations

from functools import partial, reduce

from torch import nn

#: Buffers that a forward pass in train mode rewrites: running statistics, and spectral norm's vectors.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "_u", "_v", "weight_u", "weight_v")


def frozen_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return module path -> norm layer, for all frozen ones with statistics.

    A norm without parameters of its own is frozen if all parameters of its nearest parent module with
    parameters are.
    """
    return {
        path: module
        for path, module in model.named_modules()
        if any(name in _STATISTICS for name, _ in module.named_buffers(recurse=False))
        and is_frozen(model, path)
    }


def frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return module path -> module, for all whose parameters, or those of the nearest parent, are frozen."""
    return {path: module for path, module in model.named_modules() if is_frozen(model, path)}


def is_frozen(model: nn.Module, path: str) -> bool:
    """Whether all parameters of the module at `path`, or of its nearest parent with any, are frozen."""
    while True:
        parameters = list(_module_at(model, path).parameters())
        if parameters or not path:
            return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
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
