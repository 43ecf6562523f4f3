"""Runs the app: how it ends on a signal, and what becomes of errors outside its handlers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from types import FrameType
from typing import Any

from freezetui.tui.app import FreezeTuiApp

#: Seconds that the app has to end in order after a signal; then the process ends without it.
_PATIENCE = 2.0
#: Seconds in which SIGHUP follows the end of the terminal, where it is not ignored.
_GRACE = 0.5
#: Mouse, bracketed paste, focus reports and the keyboard protocol off, line wrap on; main screen, cursor.
_RESTORE = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h"
)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def run_app(app: FreezeTuiApp) -> int:
    """Run the app in the terminal until it ends, and return its exit code.

    SIGTERM, SIGHUP and SIGINT end it and restore the terminal; the code is 128 + the signal's number then.
    A terminal that goes away counts as SIGHUP where that is ignored, as under nohup.
    """
    if not os.isatty(2):  # Textual draws on stderr
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc]
    if isinstance(sys.__stderr__, io.TextIOWrapper):  # the locale may say ASCII or Latin-1; terminals do not
        sys.__stderr__.reconfigure(encoding="utf-8")
    with _ended_by_signals(app), _threads_told(app):
        app.run()
    return app.return_code or 0


@contextlib.contextmanager
def _ended_by_signals(app: FreezeTuiApp) -> Iterator[None]:
    terminal = sys.__stdin__.fileno() if sys.__stdin__ else 0
    attributes: list[Any] | None = None
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(terminal)
    signalled = False

    def leave(code: int) -> None:
        with contextlib.suppress(termios.error):
            if attributes is not None:
                termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        with contextlib.suppress(OSError):
            output = (sys.__stderr__ or sys.stderr).fileno()
            os.set_blocking(output, False)
            os.write(output, _RESTORE)
        os._exit(code)

    def end(number: int, schedule: Callable[..., object]) -> None:
        nonlocal signalled
        code = 128 + number
        if signalled:
            leave(code)
        signalled = True
        deadline = threading.Timer(_PATIENCE, leave, (code,))
        deadline.daemon = True
        deadline.start()
        with contextlib.suppress(RuntimeError, CancelledError):  # not running yet, or no longer
            schedule(app.exit, None, code)

    def ended(number: int, _: FrameType | None) -> None:
        end(number, lambda *call: asyncio.get_running_loop().call_soon_threadsafe(*call))

    def hung_up() -> None:
        poller = select.poll()
        poller.register(terminal, 0)  # for the end of the terminal alone
        gone = any(event & select.POLLHUP for _, event in poller.poll())
        if gone and not left.wait(_GRACE) and not signalled:
            end(signal.SIGHUP, app.call_from_thread)

    left = threading.Event()
    threading.Thread(target=hung_up, name="hang-up", daemon=True).start()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, ended)
    try:
        yield
    finally:
        left.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _threads_told(app: FreezeTuiApp) -> Iterator[None]:
    """Tell of an error in a thread in a dialog; Python would print it over the screen."""
    before = threading.excepthook

    def told(failure: threading.ExceptHookArgs) -> None:
        error = failure.exc_value
        if error is not None:
            with contextlib.suppress(Exception):
                app.call_from_thread(app.tell_failure, error, "working in the background")

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = before
