"""The engine process: reads one request from stdin, writes events as JSON lines to the original stdout."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from freezetui.engine.forks import can_fork, import_libraries, in_fork, library_of
from freezetui.engine.lifeline import die_with_parent, end_group_with
from freezetui.errors import FreezeTuiError
from freezetui.json_lines import encode
from freezetui.sanity.protocol import CheckRequest, Event, Failed, Finished, Progress, decode_request
from freezetui.user_code import log_traceback, one_line, where_raised

if TYPE_CHECKING:
    from freezetui.engine.control import Control

Send = Callable[[Event], None]
T = TypeVar("T")

_IMPORTING = Progress("import", 0, 0, "importing torch")


class _Channel:
    """The original stdout, reserved for events: fd 1 now writes to the log, like fd 2, and fd 0 is empty."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self.request = decode_request(sys.stdin.buffer.readline())
        end_group_with(0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def send(self, event: Event) -> None:
        self._file.write(encode(event))


def main() -> None:
    """Answer one request, then exit without waiting for anything that the model's code has started."""
    die_with_parent(int(sys.argv[1]))
    channel = _Channel()
    if channel.request.later:
        answer_each(channel.request, channel.send)
    else:
        answer(channel.request, channel.send)
    os._exit(0)


def answer(request: CheckRequest, send: Send, known: Control | None = None) -> bool:
    """Check the request's first stage; send the progress, and the report or why there is none.

    Args:
        known: the control run, if it was made.

    Returns:
        whether there is a report.
    """

    def checked() -> bool:
        if known is None:
            send(_IMPORTING)
        from freezetui.engine.check import check

        send(Finished(check(request, send, known)))
        return True

    return _told(checked, send) is not None


def answer_each(request: CheckRequest, send: Send) -> None:
    """Check every stage in turn, until one fails; only the first, where this process cannot be forked.

    Each has a fork of this process, which runs no user code: it is checked as in a separate process, on a
    newly built model, with the weights of the file. What is the same for every stage is done once: the
    imports, and the run with everything trainable, which has a fork, too.
    """
    if not _imported(request, send):
        return
    if not can_fork():
        answer(request, send)
        return
    try:
        known = in_fork(partial(_controlled, request, send))
    except OSError:  # no memory for a fork, or none is allowed
        answer(request, send)
        return
    stage = request if known is not None else None
    while stage is not None and in_fork(partial(answer, stage, send, known)):
        stage = stage.after(1)


def _imported(request: CheckRequest, send: Send) -> bool:
    """Import what every stage needs; return whether that was possible."""

    def imported() -> bool:
        send(_IMPORTING)
        importlib.import_module("freezetui.engine.check")
        if library := library_of(request.model.architecture):
            send(Progress("import", 0, 0, f"importing {library}"))
        import_libraries(request.model.architecture)
        return True

    return _told(imported, send) is not None


def _controlled(request: CheckRequest, send: Send) -> Control | None:
    """Return the control run; None if the model cannot be loaded, which has been sent."""

    def controlled() -> Control:
        from freezetui.engine.check import control_of

        return control_of(request, send)

    return _told(controlled, send)


def _told(task: Callable[[], T], send: Send) -> T | None:
    """Return what a task returns; None where it raises, after why was sent."""
    try:
        return task()
    except (Exception, SystemExit) as error:  # user code may raise anything; the UI must be notified
        if not isinstance(error, FreezeTuiError):  # whose message is enough
            log_traceback(error)
        send(_failed(error))
        return None


def _failed(error: BaseException) -> Failed:
    if isinstance(error, FreezeTuiError):
        return Failed(error.message, error.hint)
    torch = sys.modules.get("torch")
    if torch is not None:
        from freezetui.engine.device import is_out_of_memory

        if is_out_of_memory(error):
            advice = "Try --device cpu, a smaller --input, or another machine."
            return Failed(f"Out of memory: {one_line(error)}.", advice)
    return Failed(f"The check failed: {one_line(error)}.", where_raised(error))
