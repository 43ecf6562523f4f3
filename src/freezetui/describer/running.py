"""Runs a model on the meta device: what it accepts as input, and in which order its modules run."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from freezetui.models.inputs.search import find_input
from freezetui.models.spec import Factory

#: Seconds that searching for an input may take: the order of execution is worth no long wait.
_MAX_SECONDS = 8.0
#: Seconds after which it is stopped again: an exception that is raised while an object is freed is lost.
_AGAIN = 1.0


class _OutOfTime(BaseException):
    """Passes what catches the errors of a model."""


class Run(NamedTuple):
    """A forward pass without values.

    Attributes:
        shape, takes: of the input, see `Description`.
        order: module path -> its place in the order in which modules were first entered; empty if none ran.
    """

    shape: tuple[int, ...] = ()
    takes: str = ""
    order: dict[str, int] = {}


def run(model: nn.Module, factory: Factory, arguments: dict[str, Any], shape: tuple[int, ...]) -> Run:
    """Run the model once in eval mode on an input that it accepts; an empty result if none is found.

    Args:
        model: all of it on meta.
        factory, arguments: what built it.
        shape: of the input; () searches for one.
    """
    config: Any = getattr(model, "pretrained_cfg", None)  # timm's
    if not shape and isinstance(config, dict) and isinstance(config.get("input_size"), (list, tuple)):
        shape = tuple(config["input_size"])
    entered: dict[nn.Module, int] = {}
    try:
        with _seconds(_MAX_SECONDS), warnings.catch_warnings(), _entered(model, entered):
            warnings.simplefilter("ignore")
            example, _ = find_input(model, factory, arguments, shape, device="meta", mode=False)
            if example is None:
                return Run()
            entered.clear()  # what failed attempts have entered
            dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
            args, kwargs = example.batch(2, 0, "meta", dtype)
            with torch.no_grad():
                model(*args, **kwargs)
    except (Exception, _OutOfTime):  # a model may raise anything where a tensor has no values
        return Run()
    order = {path: entered[module] for path, module in model.named_modules() if module in entered}
    return Run(example.shape, example.text, order)


@contextmanager
def _entered(model: nn.Module, entered: dict[nn.Module, int]) -> Iterator[None]:
    """Record when each module is first entered."""

    def enter(module: nn.Module, _: Any) -> None:
        entered.setdefault(module, len(entered))

    handles = [module.register_forward_pre_hook(enter) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _seconds(most: float) -> Iterator[None]:
    """Raise `_OutOfTime` inside after so many seconds."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if not over:
            raise _OutOfTime

    over = False
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, most, _AGAIN)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
