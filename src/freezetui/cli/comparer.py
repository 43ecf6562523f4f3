"""The process that compares two checkpoints for the TUI, which stays quick and survives whatever happens.

It reads one request from stdin, answers on stdout, and ends as soon as stdin is closed: with the TUI.
"""

from __future__ import annotations

import os
import sys
from threading import Lock, Thread
from time import monotonic
from typing import NoReturn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.protocol import Answer, Compared, CompareRequest, Failed, Working, decode_request
from freezetui.diff.rewritten import ending_if_truncated
from freezetui.diff.run import diff
from freezetui.diff.sides import open_side
from freezetui.errors import FreezeTuiError, from_os_error
from freezetui.json_lines import encode
from freezetui.session.live_names import live_names
from freezetui.user_code import one_line

#: Seconds between two reports of progress.
_PAUSE = 0.1


def main() -> None:
    """Answer one request."""
    request = decode_request(sys.stdin.buffer.readline())
    os.nice(5)
    Thread(target=_end_with_stdin, daemon=True).start()
    channel = _Channel()
    try:
        with ending_if_truncated(channel.end):
            channel.send(_compared(request, channel))
    except FreezeTuiError as error:
        channel.send(Failed(error.message, error.hint))
    except OSError as error:
        channel.send(Failed(str(from_os_error(error))))
    except UnicodeEncodeError as error:
        channel.send(Failed(f"{error.object!r} is not valid UTF-8."))
    except Exception as error:
        channel.send(Failed(f"Unexpected error: {one_line(error)}."))
    sys.stdout.flush()
    os._exit(0)


class _Channel:
    """Writes answers to stdout, and progress not too often."""

    def __init__(self) -> None:
        self._lock, self._told = Lock(), 0.0

    def send(self, answer: Answer) -> None:
        """Write one answer."""
        with self._lock:
            sys.stdout.buffer.write(encode(answer))
            sys.stdout.buffer.flush()

    def end(self, message: str) -> NoReturn:
        """Report an error, and end the process from whatever it is doing."""
        os.write(1, encode(Failed(message)))
        os._exit(0)

    def progress(self, text: str) -> None:
        """Report progress."""
        if monotonic() - self._told > _PAUSE:
            self._told = monotonic()
            self.send(Working(text))


def _compared(request: CompareRequest, channel: _Channel) -> Compared:
    progress = channel.progress
    before = open_side(request.before, request.key, progress)
    after = open_checkpoint(request.after, key=request.key, progress=progress)
    report = diff(
        before,
        after,
        progress=progress,
        ask=lambda side: live_names(side, request.python, request.engine, progress),
    )
    different = tuple(tensor for tensor in report.tensors if tensor.status != "identical")
    identical = tuple(t.new_name or t.name for t in report.tensors if t.status == "identical")
    return Compared(different, identical, report.matching, len(report.absent), before.warnings)


def _end_with_stdin() -> None:
    """End the process when the other end of stdin is closed."""
    sys.stdin.buffer.read()
    os._exit(1)
