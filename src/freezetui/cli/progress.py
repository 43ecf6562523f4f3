"""Shows the progress of a command on one line of the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NoReturn

import click

from freezetui.text import printable

#: Seconds between two updates.
_PAUSE = 0.1


def end_now(message: str) -> NoReturn:
    """End the process with an error, from whatever it is doing: nothing of Python's own is flushed."""
    clear = "\r\x1b[K" if _can_clear() else ""
    os.write(2, f"{clear}freezetui: {message}\n".encode())
    os._exit(2)


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows progress on one line of the terminal; clear the line afterwards."""
    if not _can_clear():
        yield lambda text: None
        return
    shown = 0.0

    def show(text: str) -> None:
        nonlocal shown
        if monotonic() - shown > _PAUSE:
            click.echo(f"\r\x1b[K{printable(text)}", err=True, nl=False)
            shown = monotonic()

    try:
        yield show
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)


def _can_clear() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
