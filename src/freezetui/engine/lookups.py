"""Finds rows that a max_norm would rewrite, and that no batch of the check has looked up."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

#: Functions that look rows up, and shorten them to a max_norm.
LOOKUPS = ("embedding", "embedding_bag")
#: A row as long as max_norm is not written again, whatever its length is rounded to.
_TOLERANCE = 1e-5


class _Bounded(NamedTuple):
    """A table whose rows a lookup shortens, and to what."""

    table: Tensor
    max_norm: float
    norm_type: float


class Lookups(TorchFunctionMode):
    """Records the frozen tables of lookups with a max_norm: of modules, of subclasses, of functions."""

    def __init__(self) -> None:
        super().__init__()
        self._bounded: dict[int, _Bounded] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in LOOKUPS and kwargs.get("max_norm") is not None:
            table = args[1] if len(args) > 1 else kwargs.get("weight")
            if isinstance(table, Tensor) and not table.requires_grad and table.layout == torch.strided:
                bound = _Bounded(table, float(kwargs["max_norm"]), float(kwargs.get("norm_type", 2.0)))
                self._bounded[id(table)] = bound
        return func(*args, **kwargs)

    @torch.no_grad()
    def look_up_long_rows(self) -> None:
        """Look up the longest row of each table, if it is too long, as a training run does at some time."""
        for table, max_norm, norm_type in self._bounded.values():
            lengths = torch.linalg.vector_norm(table.detach().float(), norm_type, 1)
            if bool((lengths > max_norm * (1 + _TOLERANCE)).any()):
                torch.embedding_renorm_(table.detach(), lengths.argmax().reshape(1), max_norm, norm_type)
