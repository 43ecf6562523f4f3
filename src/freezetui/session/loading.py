"""Opening: a session that is opened in a thread while the terminal starts up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from freezetui.session.as_opened import read
from freezetui.session.options import Options
from freezetui.session.session import Session

if TYPE_CHECKING:
    from freezetui.checkpoint.forked_reading import ForkedReading

Result = TypeVar("Result")


class Opening(Future[Session]):
    """A session that is being read; it holds what `Session` raises.

    Attributes:
        progress: a short progress message; "" if there is nothing to report.
    """

    progress = ""


def open_in_thread(options: Options, reading: ForkedReading | None = None) -> Opening:
    """Start opening a session in a thread, and return immediately.

    Args:
        reading: of its checkpoint, if a child has begun it.
    """
    opening = Opening()

    def tell(progress: str) -> None:
        opening.progress = progress

    def work() -> Session:
        if reading is not None and (checkpoint := reading.result(tell)) is not None:
            return Session(options, checkpoint, reading.columns)
        return Session(options, read(options, tell))

    run_in_thread(opening, work)
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
