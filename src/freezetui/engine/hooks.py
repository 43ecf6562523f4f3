"""Hooks of the engine on the user's modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
