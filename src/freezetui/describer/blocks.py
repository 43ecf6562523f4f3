"""Finds the head and the repeated blocks of a live model, by classes and by what its library says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import nn

from freezetui.freeze.structure import head_name, tower_of, tower_paths
from freezetui.models.transformers_loading import is_pretrained_model

_LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)


def blocks(model: nn.Module, heads: set[str]) -> list[str]:
    """Return the paths of the repeated blocks outside the heads, in order of registration.

    A block is a child of a list of modules (`ModuleList`, `Sequential`) that is made of modules, or a
    convolution; one convolution with its norm and its activation is not a list. A stage, which holds a list
    of modules of one class or is one, stands for its blocks; it may have one, as the stages beside it.
    """
    return list(_blocks(model, "", heads))


def _blocks(module: nn.Module, path: str, heads: set[str]) -> Iterator[str]:
    kinds = Counter(map(_only_kind, module.children()))
    kinds[None] = 0
    for name, child in module.named_children():
        inner = f"{path}.{name}".lstrip(".")
        if inner in heads or not _has_parameters(child):
            continue
        several = isinstance(child, _LISTS) and sum(map(_may_be_block, child.children())) > 1
        if several or kinds[_only_kind(child)] > 1:
            for key, block in child.named_children():
                if _may_be_block(block) and f"{inner}.{key}" not in heads:
                    yield from _inside(block, f"{inner}.{key}")
        else:
            yield from _blocks(child, inner, heads)


def _only_kind(module: nn.Module) -> type[nn.Module] | None:
    """Return the class of a list's only block; None if it is not a list, or has not exactly one."""
    blocks = [child for child in module.children() if _may_be_block(child)]
    made = isinstance(module, _LISTS) and len(blocks) == 1 and _is_made_of_modules(blocks[0])
    return type(blocks[0]) if made else None


def _inside(block: nn.Module, path: str) -> Iterator[str]:
    """Yield the blocks of a stage; anything else is a block itself."""
    if _repeats(block):
        for name, child in block.named_children():
            if _has_parameters(child):
                yield f"{path}.{name}"
        return
    inner = [(name, child) for name, child in block.named_children() if _repeats(child)]
    if not inner:
        yield path
    for name, child in inner:
        yield from _inside(child, f"{path}.{name}")


def _repeats(module: nn.Module) -> bool:
    """Whether it is a list of two or more modules of one class, which are made of modules themselves."""
    children = [child for child in module.children() if _has_parameters(child)]
    kinds = {type(child) for child in children}
    return (
        isinstance(module, _LISTS)
        and len(children) > 1
        and len(kinds) == 1
        and _is_made_of_modules(children[0])
    )


def _may_be_block(module: nn.Module) -> bool:
    """Whether it is a convolution, or made of modules and more than norms, whose weights are vectors."""
    if not _is_made_of_modules(module):
        return isinstance(module, nn.modules.conv._ConvNd)
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _is_made_of_modules(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def heads(model: nn.Module) -> dict[str, str]:
    """Return the paths of the head's modules -> their tower, "" for a model of one part; {} for no head.

    transformers: everything outside the base model, and what `get_output_embeddings` returns; of a model
    that embeds several modalities, the projection of each. timm: what `get_classifier` returns. Otherwise
    the modules on the first level that are called as heads are.
    """
    if is_pretrained_model(model):
        return _of_transformers(model)
    classifier: Any = getattr(model, "get_classifier", None)
    if type(model).__module__.startswith("timm.") and callable(classifier):
        found = classifier()
        modules = found if isinstance(found, (tuple, list)) else (found,)
        return {path: "" for path in _paths(model, modules) if _has_parameters(model.get_submodule(path))}
    named = [n for n, child in model.named_children() if head_name(n) and _has_parameters(child)]
    last = [n for n, child in model.named_children() if _has_parameters(child)][-1:]
    return dict.fromkeys(named or last, "")


def _of_transformers(model: Any) -> dict[str, str]:
    base = model.base_model
    try:
        output = model.get_output_embeddings()
    except Exception:  # some classes raise NotImplementedError
        output = None
    found = _paths(model, [output]) if isinstance(output, nn.Module) else []
    if base is not model:
        found += [
            name
            for name, child in model.named_children()
            if child is not base and not _contains(child, base) and _has_parameters(child)
        ]
    elif not found:
        towers = set(tower_paths(blocks(model, set())).values())
        beside = [n for n, c in model.named_children() if _has_parameters(c) and not blocks(c, set())]
        return {name: tower_of(name) for name in beside if tower_of(name) in towers}
    return dict.fromkeys(_outermost(found), "")


def _contains(module: nn.Module, other: nn.Module) -> bool:
    return any(inner is other for inner in module.modules())


def _paths(model: nn.Module, wanted: Any) -> list[str]:
    """Return the paths of some modules of the model."""
    return [path for path, module in model.named_modules() if path and any(module is w for w in wanted)]


def _outermost(paths: list[str]) -> list[str]:
    """Return the paths that are not below another one."""
    return [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
