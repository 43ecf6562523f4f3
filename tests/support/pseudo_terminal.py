"""freezetui in a pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pexpect
import pyte


class Terminal:
    """A child process and the screen that it draws; `written` is every byte that it wrote.

    Args:
        before: Python that runs before the program.
    """

    def __init__(
        self, *arguments: str, columns: int = 100, lines: int = 30, before: str = "", **environment: str
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        # Textual prefers these, which may be exported for another terminal, to the size of its own.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.child = pexpect.spawn(
            sys.executable,
            ["-c", f"{before}\nfrom freezetui.cli.main import run; run()", *arguments],
            dimensions=(lines, columns),
            env={**inherited, "TERM": "xterm-256color", **environment},
            timeout=60,
            preexec_fn=_heed_interrupts,
        )

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def wait_for(self, wanted: str, seconds: float = 60) -> None:
        """Read until the screen shows this."""
        self._read_while(lambda: wanted not in self.text, f"no {wanted!r}", seconds)

    def wait_without(self, unwanted: str, seconds: float = 60) -> None:
        """Read until the screen does not show this any more."""
        self._read_while(lambda: unwanted in self.text, f"still {unwanted!r}", seconds)

    def _read_while(self, condition: Callable[[], bool], why: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while condition():
            assert time.monotonic() < end, f"{why} in\n{self.text}"
            try:
                new = self.child.read_nonblocking(65536, timeout=0.2)
                self.written += new
                self.stream.feed(new)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                raise AssertionError(f"{why} when it ended\n{self.text}") from None

    def exit_code(self) -> int:
        """Read to the end; return the exit code."""
        self.child.expect(pexpect.EOF)
        self.written += self.child.before
        self.stream.feed(self.child.before)
        self.child.close()
        return self.child.exitstatus


def _heed_interrupts() -> None:
    """Undo what a shell does to what it runs in the background: it ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
