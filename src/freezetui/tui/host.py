"""Host: what screens and widgets ask of the app that shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from freezetui.session.options import Options


class Host(Protocol):
    """The app, as they see it."""

    @property
    def said(self) -> Iterable[str]:
        """Return the last messages, each in one line."""

    def tell_failure(self, error: BaseException, what: str) -> None:
        """Tell of an unexpected error in `what`, and go on."""

    def reopen(self, options: Options) -> object:
        """Open something else in place of what is open."""
