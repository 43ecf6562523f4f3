"""Tries inputs on copies of a model: what those forward passes change is thrown away with the copy."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from freezetui.models.nested import map_tensors
from freezetui.models.outputs import tensors_of

#: Above this many parameters a candidate is run without values first.
_MAX_LIGHT = 2_000_000
_META = torch.device("meta")


class Failure(NamedTuple):
    """Why a forward did not accept an input.

    Attributes:
        error: what it raised.
        entered: how many modules had been entered: the more, the closer.
        limits: whether it failed only for want of values, on the meta device.
    """

    error: Exception
    entered: int
    limits: bool = False


class Tried(Protocol):
    """An input: an `Example` or a `Candidate`."""

    @property
    def make(self) -> Callable[..., Any]:
        """Batch size, generator and dtype -> arguments and keyword arguments."""


class Trial:
    """Runs candidates on copies.

    Args:
        model: what is copied; not changed where it can be copied.
        device: of the model.
        dtype: of floating point inputs.
        mode: train mode or eval.
    """

    def __init__(self, model: nn.Module, device: str, dtype: torch.dtype, mode: bool) -> None:
        self.model, self.dtype, self.mode = model, dtype, mode
        self.device = torch.device(device)
        elements = sum(p.numel() for p in model.parameters() if not nn.parameter.is_lazy(p))
        self.heavy = elements > _MAX_LIGHT and self.device != _META
        self._fits_meta = True

    def failure(self, candidate: Tried) -> Failure | None:
        """Return why a forward fails, None if it does not; a heavy one runs without values first."""
        make = candidate.make
        if self.heavy and self._fits_meta:
            failed = self.without_values(make)
            if failed is not None and not failed.limits:
                return failed
            self._fits_meta = failed is None
        return self.with_values(make)

    def with_values(self, make: Callable[..., Any]) -> Failure | None:
        """Run for real."""
        return self._run(make, self.device)

    def without_values(self, make: Callable[..., Any]) -> Failure | None:
        """Run on the meta device: no memory, no time, and neither values nor what depends on them."""
        return self._run(make, _META)

    def _run(self, make: Callable[..., Any], device: torch.device) -> Failure | None:
        entered: set[nn.Module] = set()
        try:
            with self._copy(device) as model, _counted(model, entered), ExitStack() as stack:
                stack.enter_context(torch.random.fork_rng(devices=()))
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                args, kwargs = self._made(make, device)
                stack.enter_context(_META if device == _META != self.device else nullcontext())
                if not tensors_of(model.train(self.mode)(*args, **kwargs)):
                    raise TypeError("it returns no floating point tensor")
        except Exception as error:  # the user's forward may raise anything
            if isinstance(error, MemoryError):
                raise
            return Failure(error, len(entered), device == _META != self.device and _lacks_values(error))
        return None

    def _made(self, make: Callable[..., Any], device: torch.device) -> Any:
        """Return the arguments of a forward; those for the meta device are not drawn, which takes time."""
        if device == _META != self.device:
            with suppress(Exception), _META:  # makers that look at values need some
                args, kwargs = make(2, None, self.dtype)
                return moved(args, device), moved(kwargs, device)
        args, kwargs = make(2, torch.Generator().manual_seed(0), self.dtype)
        return moved(args, device), moved(kwargs, device)

    @contextmanager
    def _copy(self, device: torch.device) -> Iterator[nn.Module]:
        """Yield a copy on the device; the model itself, restored afterwards, where it cannot be copied."""
        try:
            model = copied(self.model, device if device == _META else None)
        except Exception:  # a copy may run the user's code, too
            if device == _META != self.device:
                raise NotImplementedError("it cannot be copied to the meta device") from None
            with _restored(self.model):
                yield self.model
        else:
            yield model


def copied(model: nn.Module, device: torch.device | None = None) -> nn.Module:
    """Return a deep copy with tensors of its own, on the same device or another.

    Raises:
        Exception: whatever the model's own attributes raise when they are copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        attributes = (value for value in vars(module).values() if isinstance(value, Tensor))
        for tensor in (*module._parameters.values(), *module._buffers.values(), *attributes):
            plain = type(tensor) in (Tensor, nn.Parameter) or device is not None
            if tensor is not None and plain and id(tensor) not in memo and not nn.parameter.is_lazy(tensor):
                memo[id(tensor)] = _copied(tensor, device or tensor.device)
    memo[id(memo)] = list(memo.values())
    return copy.deepcopy(model, memo)


def _copied(tensor: Tensor, device: torch.device) -> Any:
    """Return a copy; a plain parameter stays one. A non-leaf, which deepcopy refuses, becomes a leaf."""
    plain = tensor.detach()
    made = plain.to(_META) if device == _META else plain.clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, tensor.requires_grad) if type(tensor) is nn.Parameter else made
    return made.requires_grad_(tensor.requires_grad) if made.is_floating_point() else made


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Put every module's attributes, and the values of its tensors, back afterwards."""
    kept = [
        (module, {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for module in model.modules()
    ]
    tensors = [*model.parameters(), *model.buffers()]
    values = [None if nn.parameter.is_lazy(tensor) else tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                if value is not None:
                    tensor.data = value


@contextmanager
def _counted(model: nn.Module, entered: set[nn.Module]) -> Iterator[None]:
    """Collect the modules that are entered."""
    handles = []
    for module in model.modules():
        try:
            handles.append(module.register_forward_pre_hook(lambda m, _: entered.add(m)))
        except RuntimeError:  # not supported on scripted modules
            continue
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


#: What torch says where a tensor has no values, or lies beside one that has.
_VALUELESS = ("meta", "fake tensor", "data-dependent", "no values", "item()", "nonzero")


def _lacks_values(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or any(word in str(error).lower() for word in _VALUELESS)


def moved(value: Any, device: torch.device | str) -> Any:
    """Return the same nested value with its tensors on the device."""
    return map_tensors(value, lambda tensor: tensor.to(device))
