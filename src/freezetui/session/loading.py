"""Opening: a session that is read in a thread while the terminal starts up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from freezetui.session.options import Options
from freezetui.session.session import Session

Result = TypeVar("Result")


class Opening(Future[Session]):
    """A session that is being read; it holds what `Session` raises.

    Attributes:
        progress: a short progress message; "" if there is nothing to report.
    """

    progress = ""


def open_in_thread(options: Options) -> Opening:
    """Start reading a session in a thread, and return immediately."""
    opening = Opening()
    run_in_thread(opening, lambda: Session(options, lambda text: setattr(opening, "progress", text)))
    return opening


def run_in_thread(promise: Future[Result], work: Callable[[], Result]) -> None:
    """Run `work` in a daemon thread and resolve `promise` with its result or its exception.

    Whoever waits for it may stop waiting, which does not cancel it.
    """
    promise.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promise.set_result(work())
        except BaseException as error:
            promise.set_exception(error)

    Thread(target=run, daemon=True).start()
