"""The client of the engine: starts it, streams its events and ends it. Does not import torch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import TracebackType
from typing import IO

import msgspec

from freezetui import bootstrap
from freezetui.errors import EngineError
from freezetui.json_lines import encode
from freezetui.sanity.log_lines import crash_frames
from freezetui.sanity.protocol import CheckRequest, Failed, Finished, Progress, decode_event
from freezetui.sanity.report import SanityReport
from freezetui.text import plain_lines

_NEEDS = ("msgspec", "torch", "numpy", "safetensors")
_TAIL_BYTES = 64 * 1024
#: Seconds that the rest of the log of an engine that has ended is waited for.
_MAX_WAIT_S = 2.0


class Engine:
    """One engine process, running one check, of a stage or of several.

    It runs in its own process group, which ends with `close`, with `cancel`, after `timeout`, and when
    this process ends for any reason; see `engine.lifeline`. On Linux it also ends with the thread that makes
    this object, which must therefore live as long: the main thread does.

    Args:
        request: what to check.
        timeout: seconds that a stage may take until the engine is killed; None waits forever.
        python: the interpreter to run it; "" for this one.

    Attributes:
        cancelled: whether `cancel` was called.

    Raises:
        EngineError: the request contains a name that is not valid UTF-8.
    """

    def __init__(self, request: CheckRequest, timeout: float | None = None, python: str = "") -> None:
        try:
            line = encode(request)
        except UnicodeEncodeError as error:
            raise EngineError(f"{error.object!r} is not valid UTF-8.", "Rename the file.") from None
        self._timeout, self._until = timeout, monotonic() + (timeout or 0.0)
        self._timed_out = self._told = False
        self.cancelled = False
        self._process = subprocess.Popen(
            bootstrap.command("freezetui.engine.main", python, needs=_NEEDS, arguments=[str(os.getpid())]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=bootstrap.environment(python, PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1"),
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._log = _Tail(self._process.stderr)
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()
        self._request, self._stages = line, 1 + len(request.later)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def events(self) -> Iterator[Progress | Finished]:
        """Yield events as they arrive: one Finished for each stage, unless `cancel` ended them.

        Where an engine cannot check several stages, it ends after the first. Blocks between events, so the UI
        iterates in a thread.

        Raises:
            EngineError: the check failed, the engine crashed or exceeded the timeout.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it has ended already; the reason is reported below
            self._process.stdin.write(self._request)
            self._process.stdin.flush()
        left = self._stages
        for line in self._process.stdout:
            try:
                event = decode_event(line)
            except msgspec.DecodeError as error:
                raise EngineError("The engine's answer cannot be read.", f"{error}.") from None
            if isinstance(event, Failed):
                self._told = True
                raise EngineError(event.message, event.hint)
            if isinstance(event, Finished):
                left -= 1
                self._told = left == 0
                self._until = monotonic() + (self._timeout or 0.0)
            yield event
            if left == 0:
                return
        ended_early = self._process.wait() != 0 or left == self._stages
        if ended_early and not self.cancelled:
            raise self._explanation()

    def cancel(self) -> None:
        """Kill the engine and everything it started immediately; may be called from any thread."""
        self.cancelled = True
        self._kill()

    def close(self) -> None:
        """End the engine if it still runs."""
        self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._log.close()

    def log_tail(self, lines: int = 20) -> list[str]:
        """Return the last lines that the engine and the model's code printed, without control characters."""
        text = self._log.text(ended=self._told or self._process.poll() is not None)
        return plain_lines(text)[-lines:]

    def _watch(self) -> None:
        """Enforce the timeout, and end what a dead engine has left running, so that its pipe closes."""
        while self._process.poll() is None:
            left = None if self._timeout is None else max(0.0, self._until - monotonic())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(left)
                break
            if monotonic() >= self._until:
                self._timed_out = True
                self._kill()
                return
        _kill_group(self._process.pid)

    def _kill(self) -> None:
        if self._process.poll() is None:
            _kill_group(self._process.pid)

    def _explanation(self) -> EngineError:
        if self._timed_out:
            return EngineError(
                f"The check timed out after {self._timeout:g} s.",
                f"Increase --timeout.{self._log_hint()}",
            )
        code = self._process.returncode
        if code == -signal.SIGKILL:
            message = "The engine process was killed (signal 9), probably because memory ran out."
            return EngineError(message, f"Try a smaller input or another --device.{self._log_hint()}")
        if code < 0:
            message = f"The engine process was ended by signal {-code} ({signal.strsignal(-code)})."
        else:
            message = f"The engine process ended with exit code {code} without producing a report."
        return EngineError(message, self._log_hint().lstrip())

    def _log_hint(self) -> str:
        """Return the most informative line of the log: where a crash happened, else the last one."""
        lines = self.log_tail(200)
        crash = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
        if crash is not None:
            lines = crash_frames(lines)[:1] or lines[:crash]
        return f" Last log line: {lines[-1].strip()}" if lines else ""


class _Tail:
    """The last bytes of a pipe, read by a thread: who writes never waits, however much it is."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._bytes = pipe, bytearray()
        self._reader = threading.Thread(target=self._read, name="engine-log", daemon=True)
        self._reader.start()

    def text(self, ended: bool) -> str:
        """Return what has arrived; all of it, if its writer has ended."""
        self._reader.join(_MAX_WAIT_S if ended else 0.0)
        return bytes(self._bytes).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the pipe, unless something that has outlived the engine still holds its other end."""
        self._reader.join(_MAX_WAIT_S)
        if not self._reader.is_alive():
            self._pipe.close()

    def _read(self) -> None:
        while chunk := os.read(self._pipe.fileno(), _TAIL_BYTES):
            # One assignment: the other thread sees the old bytes or the new ones.
            self._bytes = (self._bytes + chunk)[-_TAIL_BYTES:]


def run_check(
    request: CheckRequest,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float | None = None,
    python: str = "",
) -> SanityReport:
    """Run the check of one stage to completion, under another Python if one is named.

    Raises:
        EngineError: it failed, crashed or exceeded `timeout` seconds.
    """
    (report,) = run_checks(request, on_progress, timeout, python)
    return report


def run_checks(
    request: CheckRequest,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float | None = None,
    python: str = "",
    on_report: Callable[[SanityReport], None] | None = None,
) -> list[SanityReport]:
    """Run the check of every stage of the request to completion, and return one report for each.

    Of several stages, the progress and an error say which one it is.

    Args:
        on_report: called with each report as it arrives: those of the stages before one that fails, too.

    Raises:
        EngineError: one failed, crashed or exceeded `timeout` seconds.
    """
    reports: list[SanityReport] = []
    names = [f"stage {name}: " if request.later else "" for name in (request.stage, *request.later)]
    while left := request.after(len(reports)):
        try:
            with Engine(left, timeout, python) as engine:
                for event in engine.events():
                    if isinstance(event, Finished):
                        reports.append(event.report)
                        if on_report is not None:
                            on_report(event.report)
                    elif on_progress is not None:
                        text = names[len(reports)] + event.text
                        on_progress(msgspec.structs.replace(event, text=text))
        except EngineError as error:
            if len(reports) == len(names):
                raise
            raise EngineError(names[len(reports)] + error.message, error.hint) from error
        if engine.cancelled:
            raise EngineError("The check was cancelled.")
    return reports


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
