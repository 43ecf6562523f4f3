"""The tree of a live model, under its own names, and what trains in it. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.freeze.tree import ParamTree


def has_other_names(names: NameMap) -> bool:
    """Whether the live model calls any of its tensors otherwise than the file does."""
    return any(t.files != (t.clean or t.name,) for t in names.live if t.files and not t.tied_to)


def live_tree(names: NameMap) -> ParamTree:
    """Return the live parameters and buffers as a tree; a tied one under its first name."""
    return ParamTree([TensorInfo(t.clean or t.name, t.shape, "float32", t.kind) for t in _first(names)])


def live_mask(names: NameMap, tree: ParamTree, trains: Mapping[str, bool]) -> bytes:
    """Return, per tensor of `live_tree`, 1 to train and 0 to freeze.

    Args:
        trains: live name -> whether it trains; what is not in it trains.
    """
    flags = {t.clean or t.name: trains.get(t.name, True) for t in _first(names)}
    return bytes(flags[tensor.name] for tensor in tree.tensors)


def _first(names: NameMap) -> Iterable[LiveTensor]:
    return (tensor for tensor in names.live if not tensor.tied_to and not tensor.replaced)
