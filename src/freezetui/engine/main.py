"""The engine process: reads one request from stdin, writes events as JSON lines to the original stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from freezetui.engine.lifeline import die_with_parent, end_group_with
from freezetui.errors import FreezeTuiError
from freezetui.json_lines import encode
from freezetui.sanity.protocol import CheckRequest, Event, Failed, Finished, Progress, decode_request
from freezetui.user_code import log_traceback, one_line, where_raised


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
    answer(channel.request, channel.send)
    os._exit(0)


def answer(request: CheckRequest, send: Callable[[Event], None]) -> None:
    """Check; send the progress, and the report or why there is none."""
    try:
        send(Progress("import", 0, 0, "importing torch"))
        from freezetui.engine.check import check

        send(Finished(check(request, send)))
    except (Exception, SystemExit) as error:  # user code may raise anything; the UI must be notified
        if not isinstance(error, FreezeTuiError):  # whose message is enough
            log_traceback(error)
        send(_failed(error))


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
