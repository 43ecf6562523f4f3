"""Ghosts: meta tensors that remember the names they were made from, to run a loader without weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

#: These would move a ghost off the meta device, but it has no values.
_MOVES = frozenset({Tensor.to, Tensor.cpu, Tensor.cuda})


class Ghost(Tensor):
    """A meta tensor with the names of the file's tensors that it was made from.

    Everything computed from ghosts is a ghost of all their names: stacked, split, permuted, resized.

    Attributes:
        origins: those names; `names` is a property of torch's own.
    """

    origins: frozenset[str]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run `func` on the meta device and pass the names on to the result."""
        if func in _MOVES:
            return args[0]
        sources = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Ghost)]
        run: Any = super().__torch_function__
        result = run(func, types, args, kwargs or {})
        for made in tree_leaves(result):
            if isinstance(made, Ghost):
                made.origins = origins_of(*sources)
        return result


def ghost(name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Ghost:
    """Return the ghost of one tensor of a file."""
    return ghost_of((name,), torch.empty(tuple(shape), dtype=dtype, device="meta"))


def ghost_of(names: Sequence[str] | frozenset[str], like: Tensor) -> Ghost:
    """Return a ghost of the shape and dtype of `like`, made from the tensors `names`."""
    made: Ghost = Tensor._make_subclass(Ghost, torch.empty(like.shape, dtype=like.dtype, device="meta"))
    made.origins = frozenset(names)
    return made


def origins_of(*tensors: object) -> frozenset[str]:
    """Return all of the file's names that these were made from; none for a tensor that is not a ghost."""
    return frozenset().union(*(getattr(t, "origins", ()) for t in tensors if isinstance(t, Ghost)))


class Copies(TorchFunctionMode):
    """Inside, copying a ghost into a tensor is only recorded; only ghosts are written to.

    Attributes:
        taken: id of the tensor -> the names that were copied into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[int, frozenset[str]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Record a copy; skip all other in-place writes."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and args and not isinstance(args[0], Ghost):
            source = args[1] if len(args) > 1 else kwargs.get("src", kwargs.get("other"))
            if name == "copy_" and isinstance(source, Ghost):
                self.taken[id(args[0])] = self.taken.get(id(args[0]), frozenset()) | source.origins
            return args[0]
        return func(*args, **kwargs)


@contextmanager
def recorded_copies() -> Iterator[dict[int, frozenset[str]]]:
    """Record which ghosts are copied into which tensors; id of the tensor -> names."""
    with Copies() as copies:
        yield copies.taken
