"""Watches one forward pass: which tensors take part in it, and which embeddings are renormalized."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from freezetui.engine.further import forward, named_tensors
from freezetui.engine.lookups import LOOKUPS
from freezetui.engine.model_under_test import ModelUnderTest

_RENORM = "embedding_renorm_"


@dataclass(frozen=True)
class Usage:
    """What one forward pass did in each mode.

    Attributes:
        used: parameters and buffers that an operation took in train mode.
        renormed: those that a lookup with a max_norm may rewrite, in either mode.
    """

    used: frozenset[str] = frozenset()
    renormed: frozenset[str] = frozenset()


def watch_forward(under_test: ModelUnderTest) -> Usage:
    """Run the model once in each mode, and return what it used; leaves it in train mode.

    A module's weight may be used without a call of the module, as `out_proj` of attention is. What runs
    compiled or scripted is not seen.
    """
    if under_test.batch is None:
        return Usage()
    mode = _Watch()
    for train in (False, True):
        mode.used.clear()
        under_test.model.train(train)
        with suppress(Exception), mode:  # the steps have shown how the model's own errors look
            forward(under_test, 0)
    return mode.usage(under_test.model)


class _Watch(TorchFunctionMode):
    """Records the memory of every tensor that an operation takes."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[int] = set()
        self._renormed: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not _has_tensor(result):  # a question about shape or dtype uses nothing
            return result
        addresses = {t.data_ptr() for t in _tensors((args, tuple(kwargs.values())))}
        self.used |= addresses
        name = getattr(func, "__name__", "")
        if name == _RENORM or (name in LOOKUPS and kwargs.get("max_norm") is not None):
            self._renormed |= addresses
        return result

    def usage(self, model: nn.Module) -> Usage:
        """Return the names of what was recorded."""
        tensors = {name: _address(tensor) for name, tensor in named_tensors(model).items()}
        return Usage(
            frozenset(name for name, address in tensors.items() if address in self.used),
            frozenset(name for name, address in tensors.items() if address in self._renormed),
        )


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, (tuple, list)) and any(map(_has_tensor, value)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if _address(value):
            yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _address(tensor: Tensor) -> int:
    """Return where a tensor's memory begins; 0 for one without memory of its own."""
    with suppress(RuntimeError):
        return tensor.data_ptr()
    return 0
