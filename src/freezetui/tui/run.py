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
    with _EndedBySignals(app), _threads_told(app):
        app.run()
    return app.return_code or 0


class _EndedBySignals:
    """Ends the app on a signal or when the terminal goes away, as long as the context lasts.

    A second signal, or an app that does not end in time, ends the process at once.
    """

    def __init__(self, app: FreezeTuiApp) -> None:
        self._app = app
        self._terminal = sys.__stdin__.fileno() if sys.__stdin__ else 0
        self._attributes: list[Any] | None = None
        with contextlib.suppress(termios.error):
            self._attributes = termios.tcgetattr(self._terminal)
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        self._signalled = False
        self._left = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._watch_terminal, name="hang-up", daemon=True).start()
        for number, handler in self._handlers.items():
            if handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._end(number, lambda *call: asyncio.get_running_loop().call_soon_threadsafe(*call))

    def _watch_terminal(self) -> None:
        poller = select.poll()
        poller.register(self._terminal, 0)  # for the end of the terminal alone
        gone = any(event & select.POLLHUP for _, event in poller.poll())
        if gone and not self._left.wait(_GRACE) and not self._signalled:
            self._end(signal.SIGHUP, self._app.call_from_thread)

    def _end(self, number: int, schedule: Callable[..., object]) -> None:
        """End the app in order if there is time for that."""
        code = 128 + number
        if self._signalled:
            self._leave(code)
        self._signalled = True
        deadline = threading.Timer(_PATIENCE, self._leave, (code,))
        deadline.daemon = True
        deadline.start()
        with contextlib.suppress(RuntimeError, CancelledError):  # not running yet, or no longer
            schedule(self._app.exit, None, code)

    def _leave(self, code: int) -> None:
        """Restore the terminal and end the process."""
        with contextlib.suppress(termios.error):
            if self._attributes is not None:
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._attributes)
        with contextlib.suppress(OSError):
            output = (sys.__stderr__ or sys.stderr).fileno()
            os.set_blocking(output, False)
            os.write(output, _RESTORE)
        os._exit(code)


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
