"""Finds requires_grad flags that are not what was set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches
from types import FunctionType

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.training.norms import is_frozen

#: Parts of the names of classes that drop something at random in train mode.
_RANDOM = ("Dropout", "DropPath", "StochasticDepth")


def frozen_by_constructor(model: nn.Module) -> list[str]:
    """Return the parameters that the model's constructor froze; call it before `apply`."""
    return [
        name
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and (parameter.is_floating_point() or parameter.is_complex())
    ]


def thawed(frozen: Iterable[str], result: RunResult) -> list[Finding]:
    """Return a warning on what the constructor froze and the config trains."""
    names = [name for name in frozen if result.planned.get(name)]
    return [finding("constructor", names, first=names[0])] if names else []


def stray_flags(model: nn.Module) -> list[Finding]:
    """Return findings on attributes that were meant as requires_grad: misspelled, or set on a module."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        for attribute in get_close_matches("requires_grad", vars(parameter), cutoff=0.8):
            names["misspelled_flag", attribute].append(name)
    for path, module in model.named_modules():
        for attribute in vars(module):
            meant = attribute == "trainable" or get_close_matches(attribute, ["requires_grad"], cutoff=0.8)
            if meant and not _is_its_own(module, attribute):
                names["flag_on_module", attribute].append(path or "the model")
    return [finding(key, found, attribute=attribute) for (key, attribute), found in names.items()]


def _is_its_own(module: nn.Module, attribute: str) -> bool:
    """Whether the module's own code uses the attribute: nobody set it from outside as a flag then."""
    if attribute.startswith("_"):
        return True
    functions = (f for cls in type(module).__mro__ if cls is not nn.Module for f in vars(cls).values())
    return any(attribute in f.__code__.co_names for f in functions if isinstance(f, FunctionType))


def random_in_frozen(model: nn.Module, result: RunResult) -> list[Finding]:
    """Return a note on dropout in frozen modules, which stays random in train mode."""
    names = [
        path
        for path, module in model.named_modules()
        if any(word in type(module).__name__ for word in _RANDOM)
        and any(getattr(module, rate, None) for rate in ("p", "drop_prob"))
        and path not in result.held
        and path in result.ran
        and is_frozen(model, path)
    ]
    return [finding("dropout", names)] if names else []


def flags_set_back(result: RunResult) -> list[Finding]:
    """Return findings on parameters whose requires_grad after the steps is not what the config set."""
    findings = []
    for planned, key in ((False, "unfrozen_by_model"), (True, "frozen_by_model")):
        names = [
            name
            for name, train in result.planned.items()
            if train is planned and result.final_flags.get(name) is not planned
        ]
        if names:
            findings.append(finding(key, names))
    return findings
