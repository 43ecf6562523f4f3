"""Finds an input that a model accepts, without changing the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from time import monotonic
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from freezetui.errors import ModelError
from freezetui.models.inputs.detection_inputs import detection_batch
from freezetui.models.inputs.draws import Candidate, Draw, by, changed, draws_of
from freezetui.models.inputs.mend import Mender
from freezetui.models.inputs.own_inputs import last_resorts, own_candidates
from freezetui.models.inputs.timm_inputs import timm_candidates
from freezetui.models.inputs.transformers_inputs import transformers_candidates
from freezetui.models.inputs.trial import Failure, Trial, moved
from freezetui.models.live_names import unwrap
from freezetui.models.spec import Factory
from freezetui.models.transformers_loading import is_pretrained_model
from freezetui.recognition.catalog import Recipe, recipe
from freezetui.user_code import one_line, where_raised

Inputs = tuple[tuple[Any, ...], dict[str, Any]]

#: Seconds that a search may take, for large models and for small ones; how many candidates are tried as they
#: are, and how many are mended.
_MAX_SECONDS, _MAX_SECONDS_LIGHT, _MAX_PLAIN, _MAX_MENDED = 20.0, 8.0, 12, 4
#: Elements of a given input up to which a forward that will fail is run for its message.
_MAX_COMPUTED = 1_000_000


class Example(NamedTuple):
    """How to make inputs for a model.

    Attributes:
        shape: of one example, without the batch dimension; () if it is not tensors of one shape.
        text: for display, e.g. "images 3x64x64".
        make: batch size, generator and dtype -> arguments and keyword arguments, on the default device.
    """

    shape: tuple[int, ...]
    text: str
    make: Callable[[int, Generator | None, torch.dtype], Inputs]

    def batch(self, size: int, seed: int, device: torch.device | str, dtype: torch.dtype) -> Inputs:
        """Return the arguments and keyword arguments of a forward; the same values on every device."""
        generator = torch.Generator().manual_seed(seed)
        args, kwargs = self.make(size, generator, dtype)
        return moved(args, device), moved(kwargs, device)


def find_input(
    model: nn.Module,
    factory: Factory,
    arguments: Mapping[str, Any],
    shape: Sequence[int] = (),
    device: str = "cpu",
    mode: bool = True,
) -> tuple[Example | None, tuple[str, ...]]:
    """Return an input that a forward accepts, in train mode or not, else None and why each failed.

    The candidates: the known architecture's own; else the model's `example_input_array` (Lightning) or
    `dummy_inputs`; else what its config (transformers, timm) or its source and its layers say. What an error
    says about a candidate changes the candidate. A given shape is not searched: it is used as it is.

    Runs on copies: neither the model nor the random state changes.

    Raises:
        ModelError: the model does not accept the given shape.
    """
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    trial = Trial(model, device, dtype, mode)
    candidates = _candidates(model, factory, arguments, tuple(shape))
    if shape:
        return _given(trial, list(islice(candidates, _MAX_PLAIN)), tuple(shape)), ()
    return _searched(trial, candidates, is_pretrained_model(unwrap(model)[0]))


def _given(trial: Trial, candidates: list[Example | Candidate], shape: tuple[int, ...]) -> Example:
    """Return the candidate of this shape that is accepted without values, for which nothing is computed.

    Where none is, the one that got furthest runs for real, unless it is large: then the check will tell.
    """
    failures: list[tuple[Example | Candidate, Failure]] = []
    for candidate in candidates:
        failed = trial.without_values(candidate.make)
        if failed is None or failed.limits:
            return _example(candidate)
        failures.append((candidate, failed))
    if not failures:
        raise ModelError(f"No input of shape {by(shape)} can be made for {type(trial.model).__name__}.")
    found = _mended(_Fixed(trial, shape), failures, monotonic() + _MAX_SECONDS)
    if found is not None:
        return found
    furthest, _ = max(failures, key=lambda pair: pair[1].entered)
    real = trial.with_values(furthest.make) if math.prod(shape) <= _MAX_COMPUTED else None
    if real is None:
        return _example(furthest)
    what = f"on the given input, {_example(furthest).text}"
    raise ModelError(
        f"The model's own forward raised {one_line(real.error)} {what}.",
        where_raised(real.error),
    ) from real.error


class _Fixed:
    """Runs candidates without values, those alone whose first input has the given shape."""

    def __init__(self, trial: Trial, shape: tuple[int, ...]) -> None:
        self.model, self._trial, self._shape = trial.model, trial, shape

    def failure(self, candidate: Candidate) -> Failure | None:
        first = next(draws_of((candidate.args, candidate.kwargs)), None)
        if first is None or first.shape != self._shape:
            return Failure(ValueError("the shape is given"), -1)
        failed = self._trial.without_values(candidate.make)
        return None if failed is None or failed.limits else failed


def _searched(
    trial: Trial, candidates: Iterator[Example | Candidate], ranked: bool
) -> tuple[Example | None, tuple[str, ...]]:
    """Try candidates as they are, then mend those that got furthest, then try the others.

    Args:
        ranked: whether later candidates are worse: the first one is then mended before any other is tried.
    """
    until = monotonic() + (_MAX_SECONDS if trial.heavy else _MAX_SECONDS_LIGHT)
    failures: list[tuple[Example | Candidate, Failure]] = []
    mended = 0
    for candidate in chain(candidates, [None], last_resorts(trial.model)):
        if candidate is None or len(failures) == _MAX_PLAIN or (ranked and len(failures) == 1):
            found = _mended(trial, failures[mended:], until)
            mended = len(failures)
            if found is not None:
                return found, ()
        if candidate is None or monotonic() > until:
            continue
        failed = trial.failure(candidate)
        if failed is None:
            return _example(candidate), ()
        failures.append((candidate, failed))
    tried = tuple(f"{_example(c).text}: {one_line(failed.error, 160)}" for c, failed in failures)
    return None, tried or ("no layer reveals the input shape",)


def _mended(
    trial: Trial | _Fixed, failures: list[tuple[Example | Candidate, Failure]], until: float
) -> Example | None:
    """Return one of the candidates that got furthest, changed so that it is accepted."""
    furthest = sorted(failures, key=lambda pair: -pair[1].entered)
    fixable = [(each, failed) for each, failed in furthest if isinstance(each, Candidate)]
    for candidate, failed in fixable[:_MAX_MENDED]:
        mender = Mender(trial.model, trial.failure, until)
        found = mender.mend(candidate, failed)
        if found is not None:
            return _example(found)
    return None


def _example(candidate: Example | Candidate) -> Example:
    if isinstance(candidate, Example):
        return candidate
    return Example(candidate.shape, candidate.described(), candidate.make)


def _candidates(
    model: nn.Module, factory: Factory, arguments: Mapping[str, Any], shape: tuple[int, ...]
) -> Iterator[Example | Candidate]:
    known = recipe(factory.name, arguments) if factory.kind == "torchvision" else None
    if known is not None:
        yield from _known(model, known, shape)
        return
    if shape:
        yield from _of_shape(model, shape)
        return
    pretrained = is_pretrained_model(unwrap(model)[0])
    if pretrained:
        yield from transformers_candidates(unwrap(model)[0])
    yield from _own(model)
    if not pretrained:
        yield from timm_candidates(model, arguments)
    yield from own_candidates(model)


def _of_shape(model: nn.Module, shape: tuple[int, ...]) -> Iterator[Candidate]:
    """Yield candidates whose first input, and whatever has the same shape, has the given one instead."""
    core = unwrap(model)[0]
    every = transformers_candidates(core) if is_pretrained_model(core) else own_candidates(model)
    seen: list[tuple[Any, ...]] = []
    for candidate in every:
        first = next(draws_of((candidate.args, candidate.kwargs)), None)
        if first is None:
            continue

        def given(draw: Draw, before: tuple[int, ...] = first.shape) -> Draw:
            return replace(draw, shape=shape) if draw.shape == before and draw.what != "times" else draw

        args, kwargs = changed((candidate.args, candidate.kwargs), given)
        if (args, kwargs) not in seen:
            seen.append((args, kwargs))
            yield Candidate(args, kwargs)


def _known(model: nn.Module, known: Recipe, shape: tuple[int, ...]) -> Iterator[Example | Candidate]:
    """Yield the catalog's recipe, with as many channels as the first layer reads."""
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))), None)
    channels = known.shape[0] if first is None else first.in_channels
    shape = shape or (channels, *known.shape[1:])
    if known.kind == "detection":
        for label in (1, 0):  # label 0 is the background for some, the only class of others
            yield Example(shape, f"images {by(shape)} with targets", detection_batch(model, shape, label))
    elif known.kind == "flow":
        image = Draw("images", shape)
        yield Candidate((image, image), text=f"pairs of images {by(shape)}")
    else:
        what = "video" if known.kind == "video" else "images"
        yield Candidate((Draw(what, shape),))


def _own(model: nn.Module) -> Iterator[Example | Candidate]:
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
        text = f"the model's {attribute}"
        yield Example(tuple(alone), text, _like(args, kwargs))
        if kwargs:  # or the dict itself is the one argument
            yield Example((), text, _like((kwargs,), {}))
        yield Example(tuple(alone), text, lambda *_, given=(args, kwargs): given)


def _like(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[int, Generator | None, torch.dtype], Inputs]:
    """Return a maker of tensors of these shapes, floating point ones random; the batch comes first."""

    def make(size: int, generator: Generator | None, dtype: torch.dtype) -> Inputs:
        def fresh(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: fresh(item) for name, item in value.items()}
            if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
                return type(value)(map(fresh, value))
            if not isinstance(value, Tensor) or not value.dim():
                return value
            if value.is_floating_point():
                return torch.randn(size, *value.shape[1:], generator=generator).to(dtype)
            return value.cpu()[torch.arange(size) % len(value)]

        return tuple(map(fresh, args)), {name: fresh(value) for name, value in kwargs.items()}

    return make
