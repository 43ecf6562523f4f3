"""Finds requires_grad flags that are not what was set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

from torch import nn

from freezetui.engine.own_attributes import made_by_itself, own_options, read_on_others
from freezetui.engine.run import RunResult
from freezetui.freeze.name_map import NameMap
from freezetui.models.live_names import can_train
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.training.norms import is_frozen

#: Parts of the names of classes that drop something at random in train mode.
_RANDOM = ("Dropout", "DropPath", "StochasticDepth")

#: The functional one, as in F.dropout(x, 0.1, self.training).
_DROPOUT = "dropout"

#: Keras' name for it.
_KERAS = "trainable"


def frozen_by_constructor(model: nn.Module) -> list[str]:
    """Return the parameters that the model's constructor froze; call it before `apply`."""
    return [
        name
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and can_train(parameter)
    ]


def thawed(frozen: Iterable[str], result: RunResult, known: NameMap | None) -> list[Finding]:
    """Return a warning on what the constructor froze and the config trains.

    Args:
        known: the checkpoint's names, which rules speak of; None if they are the live ones.
    """
    names = [name for name in frozen if result.planned.get(name)]
    if not names:
        return []
    first = known.by_name.get(names[0]) if known is not None else None
    rule = (*first.files, first.clean)[0] if first is not None else ""
    return [finding("constructor", names, first=rule or names[0])]


def stray_flags(model: nn.Module) -> list[Finding]:
    """Return findings on attributes that were meant as requires_grad: misspelled, or set on a module.

    Call it before `apply`: what an attribute says and the flags say as well is not reported.
    """
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        for attribute, value in vars(parameter).items():
            if _is_meant(attribute) and value is not parameter.requires_grad:
                names["misspelled_flag", attribute].append(name)
    meant = [(p, m, found) for p, m in model.named_modules() if (found := _meant(m))]
    classes: set[type] = {type(module) for module in model.modules()} if meant else set()
    read = {name for cls in classes for name in read_on_others(cls)}
    for path, module, found in meant:
        own = _own(type(module), read)
        for attribute, value in found.items():
            says_the_same = all(value is parameter.requires_grad for parameter in module.parameters())
            if attribute not in own and not says_the_same:
                names["flag_on_module", attribute].append(path or "the model")
    return [finding(key, of, attribute=attribute) for (key, attribute), of in names.items()]


def _own(cls: type, read: set[str]) -> frozenset[str]:
    """Return the attributes of a class that are options of its own code, or of the code around it."""
    if _KERAS in read or _KERAS in made_by_itself(cls):
        return own_options(cls) | {_KERAS}
    return own_options(cls)


def _meant(module: nn.Module) -> dict[str, object]:
    """Return the attributes of a module that were meant as requires_grad."""
    return {name: value for name, value in vars(module).items() if _is_meant(name)}


@lru_cache(maxsize=4096)
def _is_meant(attribute: str) -> bool:
    """Whether an attribute's name was meant as requires_grad; a library's own begins with an underscore."""
    if attribute.startswith("_"):
        return False
    return attribute == _KERAS or bool(get_close_matches(attribute, ["requires_grad"], cutoff=0.8))


def _drops(module: nn.Module) -> bool:
    """Whether a module drops something at random in train mode."""
    if isinstance(module, (nn.MultiheadAttention, nn.RNNBase)):
        return bool(module.dropout)
    if any(word in type(module).__name__ for word in _RANDOM):
        return any(getattr(module, rate, None) for rate in ("p", "drop_prob"))
    cls: type = type(module)
    rates = [v for name, v in vars(module).items() if "drop" in name and isinstance(v, (int, float))]
    return "training" in own_options(cls) and (any(rates) or (not rates and _DROPOUT in read_on_others(cls)))


def random_in_frozen(model: nn.Module, result: RunResult) -> list[Finding]:
    """Return a note on dropout in frozen modules, which stays random in train mode."""
    names = [
        path
        for path, module in model.named_modules()
        if module.training and path in result.ran and path not in result.held
        if _drops(module) and is_frozen(model, path)
    ]
    return [finding("dropout", names)] if names else []


def flags_set_back(result: RunResult) -> list[Finding]:
    """Return findings on parameters whose requires_grad the model's own code changes as it runs."""
    found = (("unfrozen_by_model", result.unfrozen), ("frozen_by_model", result.refrozen))
    return [finding(key, [n for n in result.planned if n in names]) for key, names in found if names]


def replaced_or_gone(result: RunResult) -> list[Finding]:
    """Return findings on frozen parameters whose names are gone after the steps."""
    gone = [name for name in result.frozen if name in result.vanished]
    findings = []
    for key, names in (
        ("renamed", [name for name in gone if name in result.renamed]),
        ("vanished", [name for name in gone if name not in result.renamed]),
    ):
        if names:
            findings.append(finding(key, names))
    return findings
