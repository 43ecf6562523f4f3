"""Maps names as `load_state_dict` does: modules' hooks, and weights parametrized on one side only."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import nn

from freezetui.models.ghosts import Ghost, recorded_copies
from freezetui.models.live_names import Live, ancestry

_PARAMETRIZATION = re.compile(r"(^|\.)parametrizations\.(\w+)\.original(\d*)$")
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")
_REPARAMETRIZED = re.compile(r"(^|\.)((?:weight|bias|in_proj_weight)(?:_[hi]h_l\d+)?)_(g|v|orig|bar)$")


def loads_itself(model: nn.Module) -> bool:
    """Whether a module in it overrides or hooks the loading, so that names alone do not decide.

    The hooks of FSDP gather weights from all ranks, so a model with one is never asked to load.
    """
    if any(not ancestry(module).isdisjoint(_SHARDED) for module in model.modules()):
        return False
    return any(
        type(module)._load_from_state_dict is not nn.Module._load_from_state_dict
        or module._load_state_dict_pre_hooks
        for module in model.modules()
    )


def loaded(model: nn.Module, ghosts: Mapping[str, Ghost]) -> dict[int, frozenset[str]]:
    """Run the model's own `load_state_dict`, with all its hooks, on ghosts, without writing to the model.

    Returns:
        id of a live tensor -> the file's names that would be copied into it.
    """
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(False)
    try:
        with recorded_copies() as taken, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.load_state_dict(dict(ghosts), strict=False)
            except Exception:  # different shapes are found later; a hook may need values
                return dict(taken)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
    return dict(taken)


def canonical(name: str, among: Collection[str]) -> tuple[str, str]:
    """Return the name that a reparametrized weight had, and which part of it this is.

    `weight_g`, `parametrizations.weight.original0` -> ("weight", "g"); the part is "" for other names.

    Args:
        name: of one tensor.
        among: all names: `weight_v` next to `weight_u` is a state of spectral_norm.
    """
    if found := _PARAMETRIZATION.search(name):
        return name[: found.start()] + found[1] + found[2], {"0": "g", "1": "v", "": "orig"}.get(found[3], "")
    if found := _REPARAMETRIZED.search(name):
        base = name[: found.start()] + found[1] + found[2]
        if base not in among and not (found[3] == "v" and f"{base}_u" in among):
            return base, "orig" if found[3] == "bar" else found[3]
    return name, ""


def reparametrized(
    unfilled: Iterable[Live], unplaced: Collection[str], plain: Collection[str], files: Collection[str]
) -> dict[str, list[str]]:
    """Match tensors that are parametrized on one side only, or under torch's other spelling.

    Args:
        unfilled: live tensors without a tensor in the file.
        unplaced: the file's names without a live tensor.
        plain, files: all names of both sides.

    Returns:
        live plain name -> the file's names it is made of.
    """
    stored: dict[str, dict[str, str]] = {}
    for file in unplaced:
        base, part = canonical(file, files)
        stored.setdefault(base, {})[part] = file
    found: dict[str, list[str]] = {}
    for live in unfilled:
        base, part = canonical(live.plain, plain)
        parts = stored.get(base, {})
        if part == "" and base == live.plain:  # the parametrization was removed, its parts became one weight
            names = [name for key, name in parts.items() if key]
        elif live.kind == "buffer":
            names = []
        else:  # the same part in the other spelling, or a weight that was parametrized after loading
            names = [parts[key] for key in (part, "") if key in parts][:1]
        if names:
            found[live.plain] = names
    return found
