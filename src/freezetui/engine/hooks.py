"""Hooks of the engine on the user's modules and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from torch.optim import Optimizer


class Hook:
    """A hook on one module: a copy or a pickle of the module, such as a teacher or an EMA, is not watched.

    Args:
        call: what the module calls, with what torch gives to its hook; what that returns is ignored.
    """

    def __init__(self, call: Callable[..., object] | None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        """Call it."""
        if self._call is not None:
            self._call(*args)

    def __reduce__(self) -> tuple[type[Hook], tuple[None]]:
        return Hook, (None,)


def replace_step(optimizer: Optimizer, step: Callable[..., Any]) -> None:
    """Let an optimizer call this in place of its step, with the arguments of that."""

    def bound(_: Optimizer, *args: Any, **kwargs: Any) -> Any:
        return step(*args, **kwargs)

    # A schedule that the user's step makes for the optimizer wraps the function that is bound to it.
    optimizer.step = MethodType(bound, optimizer)  # type: ignore[method-assign]
