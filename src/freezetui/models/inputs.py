"""Finds an input that a model accepts in train mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from freezetui.models.detection_inputs import detection_batch
from freezetui.models.outputs import tensors_of
from freezetui.models.probes import Probe, probes
from freezetui.models.spec import Factory
from freezetui.recognition.catalog import Recipe, recipe

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class Example(NamedTuple):
    """How to make inputs for a model.

    Attributes:
        shape: of one example, without the batch dimension; () if it is not tensors of one shape.
        text: for display, e.g. "images 3x64x64".
        make: batch size, generator and dtype -> arguments and keyword arguments, on the CPU.
    """

    shape: tuple[int, ...]
    text: str
    make: Callable[[int, Generator, torch.dtype], Inputs]

    def batch(self, size: int, seed: int, device: torch.device | str, dtype: torch.dtype) -> Inputs:
        """Return the arguments and keyword arguments of a forward; the same values on every device."""
        generator = torch.Generator().manual_seed(seed)
        args, kwargs = self.make(size, generator, dtype)
        return _to(args, device), _to(kwargs, device)


def find_input(
    model: nn.Module,
    factory: Factory,
    arguments: Mapping[str, Any],
    shape: Sequence[int] = (),
    device: str = "cpu",
    mode: bool = True,
) -> tuple[Example | None, tuple[str, ...]]:
    """Return the first candidate that a forward accepts, in train mode or not, else None and why each failed.

    The candidates: the given shape alone; else the known architecture's own; else the model's
    `example_input_array` (Lightning) or `dummy_inputs` (transformers); else inputs that fit its first layers.

    Runs forward passes, so running statistics may change; modes and the random state do not.
    """
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    tried = []
    with _training(model, mode):
        for example in _candidates(model, factory, arguments, tuple(shape)):
            try:
                args, kwargs = example.batch(2, 0, device, dtype)
                with torch.no_grad():
                    if not tensors_of(model(*args, **kwargs)):
                        raise TypeError("it returns no floating point tensor")
            except Exception as error:  # the user's forward may raise anything
                reason = " ".join(str(error).split())[:160]
                tried.append(f"{example.text}: {type(error).__name__}: {reason}")
            else:
                return example, ()
    return None, tuple(tried) or ("no layer reveals the input shape",)


def _candidates(
    model: nn.Module, factory: Factory, arguments: Mapping[str, Any], shape: tuple[int, ...]
) -> Iterator[Example]:
    known = recipe(factory.name, arguments) if factory.kind == "torchvision" else None
    if known is not None:
        yield from _known(model, known, shape)
        return
    if not shape:
        yield from _own(model)
    for probe in probes(model, shape):
        yield from _probed(model, probe)


def _known(model: nn.Module, known: Recipe, shape: tuple[int, ...]) -> Iterator[Example]:
    """Yield the catalog's recipe, with as many channels as the first layer reads."""
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))), None)
    channels = known.shape[0] if first is None else first.in_channels
    shape = shape or (channels, *known.shape[1:])
    if known.kind == "detection":
        for label in (1, 0):  # label 0 is the background for some, the only class of others
            yield Example(shape, f"images {_by(shape)} with targets", detection_batch(model, shape, label))
    elif known.kind == "flow":
        yield Example(shape, f"pairs of images {_by(shape)}", _tensors(shape, 2))
    else:
        what = "video" if known.kind == "video" else "images"
        yield Example(shape, f"{what} {_by(shape)}", _tensors(shape, 1))


def _own(model: nn.Module) -> Iterator[Example]:
    """Yield the model's own example, by the conventions of Lightning and transformers."""
    for attribute in ("example_input_array", "dummy_inputs"):
        try:
            example = getattr(model, attribute, None)
        except Exception:  # a property may run user code
            continue
        if example is None:
            continue
        args = () if isinstance(example, Mapping) else example if isinstance(example, tuple) else (example,)
        kwargs = dict(example) if isinstance(example, Mapping) else {}
        alone = args[0].shape[1:] if len(args) == 1 and isinstance(args[0], Tensor) else ()
        yield Example(tuple(alone), f"the model's {attribute}", _like(args, kwargs))


def _probed(model: nn.Module, probe: Probe) -> Iterator[Example]:
    """Yield a probe for every input that forward requires; the later ones may be times, one scalar each."""
    count = _required(model)
    text = f"{probe.what} {_by(probe.shape)}"
    if probe.high:
        yield Example(probe.shape, text, _tokens(probe.shape, probe.high, count))
        return
    yield Example(probe.shape, f"{count} x {text}" if count > 1 else text, _tensors(probe.shape, count))
    if count > 1:
        yield Example(probe.shape, f"{text} and {count - 1} x times", _timed(probe.shape, count - 1))


def _required(model: nn.Module) -> int:
    """Return how many inputs a forward requires; at least one."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    return max(1, sum(p.kind in kinds and p.default is Parameter.empty for p in parameters))


def _tensors(shape: tuple[int, ...], count: int) -> Callable[[int, Generator, torch.dtype], Inputs]:
    def make(size: int, generator: Generator, dtype: torch.dtype) -> Inputs:
        drawn = [torch.randn(size, *shape, generator=generator) for _ in range(count)]
        return tuple(tensor.to(dtype) for tensor in drawn), {}

    return make


def _timed(shape: tuple[int, ...], count: int) -> Callable[[int, Generator, torch.dtype], Inputs]:
    def make(size: int, generator: Generator, dtype: torch.dtype) -> Inputs:
        first = torch.randn(size, *shape, generator=generator).to(dtype)
        times = [torch.randint(1, 10, (size,), generator=generator) for _ in range(count)]
        return (first, *times), {}

    return make


def _tokens(shape: tuple[int, ...], high: int, count: int) -> Callable[[int, Generator, torch.dtype], Inputs]:
    def make(size: int, generator: Generator, dtype: torch.dtype) -> Inputs:
        return tuple(torch.randint(high, (size, *shape), generator=generator) for _ in range(count)), {}

    return make


def _like(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[int, Generator, torch.dtype], Inputs]:
    """Return a maker of tensors of these shapes, floating point ones random; the batch comes first."""

    def make(size: int, generator: Generator, dtype: torch.dtype) -> Inputs:
        def fresh(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.dim():
                return value
            if value.is_floating_point():
                return torch.randn(size, *value.shape[1:], generator=generator).to(dtype)
            return value.cpu()[torch.arange(size) % len(value)]

        return tuple(map(fresh, args)), {name: fresh(value) for name, value in kwargs.items()}

    return make


@contextmanager
def _training(model: nn.Module, mode: bool) -> Iterator[None]:
    """Put every module into train mode or eval; restore the modes and torch's random state afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model.train(mode)
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (tuple, list)):
        return type(value)(_to(item, device) for item in value)
    return {name: _to(item, device) for name, item in value.items()} if isinstance(value, dict) else value


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
