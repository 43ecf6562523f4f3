"""The client of the describer: starts its process when it is first asked, keeps it, and ends it."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from typing import IO, NamedTuple

import msgspec

from freezetui import bootstrap
from freezetui.description.protocol import Described, DescribeRequest, Failed, Working, decode_answer
from freezetui.description.types import Description
from freezetui.errors import EngineError
from freezetui.json_lines import encode
from freezetui.text import plain_lines

#: Seconds for the imports, which depend on the disk, for a build, and without a request.
_MAX_IMPORT, _MAX_BUILD, _MAX_IDLE = 180.0, 20.0, 300.0
_TAIL_BYTES = 16 * 1024


class _Job(NamedTuple):
    request: bytes
    answer: Future[Description]


class Describer:
    """At most one describer process, which answers one request after the other.

    Everything that concerns the process happens in one thread that lives as long as this object: the kernel
    ends the process with the thread that has started it. The process also watches its stdin, so that it ends
    with this process for any reason, and ends by itself after five idle minutes; it is started again when
    needed.

    Args:
        python: the interpreter to run it; "" for this one.
        build_seconds: how long a build may take.
        idle_seconds: after which the process ends.
    """

    def __init__(
        self, python: str = "", build_seconds: float = _MAX_BUILD, idle_seconds: float = _MAX_IDLE
    ) -> None:
        self._python, self._build_seconds, self._idle_seconds = python, build_seconds, idle_seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._closed = False

    def describe(self, request: DescribeRequest) -> Future[Description]:
        """Ask for a description; returns at once.

        Returns:
            the description, or an EngineError: it failed, took too long or too much memory, or was closed.
        """
        answer: Future[Description] = Future()
        try:
            line = encode(request)
        except UnicodeEncodeError as error:
            answer.set_exception(EngineError(f"{error.object!r} is not valid UTF-8.", "Rename the file."))
            return answer
        with self._lock:
            if self._closed:
                answer.set_exception(EngineError("The describer was closed."))
                return answer
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="describer", daemon=True)
                self._thread.start()
        self._jobs.put(_Job(line, answer))
        return answer

    @property
    def pid(self) -> int:
        """The process id; 0 if none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def close(self) -> None:
        """End the process and everything that it has started; may be called from any thread, and twice."""
        with self._lock:
            self._closed = True
        self._jobs.put(None)
        self._kill()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                answer = self._ask(job.request) or self._ask(job.request)
                if answer is None:
                    raise EngineError("The describer ended without an answer, twice.")
                job.answer.set_result(answer)
            except EngineError as error:
                job.answer.set_exception(error)
            except OSError as error:
                job.answer.set_exception(EngineError(f"The describer cannot be run: {error.strerror}."))
        self._end()

    def _ask(self, request: bytes) -> Description | None:
        """Send a request and wait for the answer; None if the process was idle, and ended just before.

        Raises:
            EngineError: see `describe`.
        """
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request)
            process.stdin.flush()
        output, rest = process.stdout.fileno(), b""
        deadline, heard, building = time.monotonic() + _MAX_IMPORT, False, False
        while not self._closed:
            left = deadline - time.monotonic()
            if not select.select([output], [], [], max(0, left))[0]:
                self._end()
                limit = self._build_seconds if building else _MAX_IMPORT
                what = "Building the model without weights" if building else "Importing the model's library"
                raise EngineError(f"{what} took more than {limit:g} s and was stopped.")
            data = os.read(output, 1 << 20)
            if not data:
                break
            heard = True
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = self._decoded(line)
                if not isinstance(answer, Working):
                    return answer
                if answer.phase == "build":
                    building, deadline = True, time.monotonic() + self._build_seconds
        if not heard and not self._closed and process.wait() == 0:
            return None
        raise self._explanation()

    def _decoded(self, line: bytes) -> Working | Description:
        try:
            answer = decode_answer(line)
        except msgspec.DecodeError as error:
            self._end()
            raise EngineError("The describer's answer cannot be read.", f"{error}.") from None
        if isinstance(answer, Failed):
            raise EngineError(answer.message, answer.hint)
        return answer.description if isinstance(answer, Described) else answer

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started if none runs."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        # Open as long as the process: _end() closes it.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            bootstrap.command(
                "freezetui.describer.main", self._python, arguments=[f"{self._idle_seconds:g}"]
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=bootstrap.environment(self._python, PYTHONFAULTHANDLER="1"),
            start_new_session=True,
        )
        with self._lock:
            self._process = process
        if self._closed:
            self._kill()
        return process

    def _explanation(self) -> EngineError:
        """Return why the process has ended without an answer."""
        if self._closed:
            return EngineError("The describer was closed.")
        assert self._process is not None
        last = self._last_line()
        code = self._process.wait()
        self._end()
        if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV):
            why = f"was ended by signal {-code} ({signal.strsignal(-code)}), probably because memory ran out"
        else:
            why = f"ended with exit code {code} without an answer"
        return EngineError(f"The describer {why}.", f"Last log line: {last}" if last else "")

    def _last_line(self) -> str:
        assert self._log is not None
        try:
            start = max(0, os.fstat(self._log.fileno()).st_size - _TAIL_BYTES)
            text = os.pread(self._log.fileno(), _TAIL_BYTES, start).decode("utf-8", "replace")
        except (OSError, ValueError):
            return ""
        lines = plain_lines(text)
        return lines[-1].strip() if lines else ""

    def _kill(self) -> None:
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _end(self) -> None:
        """End the process if it runs, and close its pipes and log."""
        self._kill()
        process, log = self._process, self._log
        if process is not None:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if log is not None:
            log.close()
        self._process = self._log = None
