"""The engine and the describer without a process of their own, for tests of what is made of their answers.

A start takes seconds, for the imports of torch and of a library. tests/sanity and tests/description test the
processes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from unittest import mock

from freezetui.description.protocol import Described, DescribeRequest, Failed, Working, decode_answer
from freezetui.description.types import Description
from freezetui.errors import EngineError
from freezetui.json_lines import encode
from freezetui.sanity.protocol import CheckRequest, Finished, Progress, decode_event
from freezetui.sanity.protocol import Failed as CheckFailed
from freezetui.sanity.protocol import decode_request as decode_check
from freezetui.text import plain_lines


class EngineHere:
    """Stands in for `sanity.client.Engine`: the check itself, and its messages as lines of JSON.

    It checks one stage, as an engine does that cannot be forked.
    """

    cancelled = False

    def __init__(self, request: CheckRequest, timeout: float | None = None, python: str = "") -> None:
        assert not python
        self._line, self._log = encode(request), io.StringIO()

    def __enter__(self) -> EngineHere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cancel(self) -> None:
        """Do nothing: a check in this process cannot be ended."""

    def log_tail(self, lines: int = 20) -> list[str]:
        """Return the last lines that the model's code printed, without control characters."""
        return plain_lines(self._log.getvalue())[-lines:]

    def events(self) -> Iterator[Progress | Finished]:
        """Check; yield what the engine would send.

        Raises:
            EngineError: the check failed.
        """
        from freezetui.engine.main import answer

        lines: list[bytes] = []
        with contextlib.ExitStack() as streams:
            streams.enter_context(contextlib.redirect_stdout(self._log))
            streams.enter_context(contextlib.redirect_stderr(self._log))
            streams.enter_context(mock.patch("sys.stdin", io.StringIO()))
            answer(decode_check(self._line), lambda event: lines.append(encode(event)))
        for event in map(decode_event, lines):
            if isinstance(event, CheckFailed):
                raise EngineError(event.message, event.hint)
            yield event


class DescriberHere:
    """Stands in for `description.client.Describer`: the description itself, and its messages as lines."""

    pid = 0

    def __init__(self, python: str = "") -> None:
        assert not python
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def describe(self, request: DescribeRequest) -> Future[Description]:
        """Ask for the description; the future has it, or an EngineError with why there is none."""
        return self._thread.submit(self._described, encode(request))

    def _described(self, line: bytes) -> Description:
        from freezetui.describer.main import _answer

        told = decode_answer(encode(_answer(line, Working)))
        if isinstance(told, Failed):
            raise EngineError(told.message, told.hint)
        assert isinstance(told, Described)
        return told.description
