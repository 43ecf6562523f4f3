"""Runs programs in a pseudo-terminal and times what they paint.

Imports nothing large: on Linux a child's peak memory starts at what its parent held.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

ESCAPES = re.compile(
    rb"\x1b(?:\[[0-9;:?<>=$ ]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[()][AB0]|[=>78M])"
)
MODE_QUERY, MODE_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
FRAME_END = b"\x1b[?2026l"

#: What the measured programs keep between their runs, instead of the user's own.
_STATE = TemporaryDirectory(prefix="freezetui-benchmarks-")

T = TypeVar("T")


class Row(NamedTuple):
    """A line of the table."""

    what: str
    measured: str
    budget: str = ""


def measured_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a program that is measured: this one's, with changes."""
    # An installed program has its bytecode; one that may not write any compiles itself at every start.
    # Textual prefers an exported size to that of its terminal.
    left_out = ("PYTHONDONTWRITEBYTECODE", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "XDG_STATE_HOME": _STATE.name, **changes}


class Paint(NamedTuple):
    """Seconds from a key to the end of the first frame, and to the last byte of all that followed."""

    first: float
    last: float


class Terminal:
    """A child in a terminal, from its exec on.

    Args:
        size: columns and lines.

    Attributes:
        started: perf_counter just before the fork.
        output: everything it has written.
        seen: perf_counter at which the newest output was read.
    """

    def __init__(self, command: Sequence[str], size: tuple[int, int] = (120, 40)) -> None:
        columns, lines = size
        environment = measured_environment(TERM="xterm-256color", COLORTERM="truecolor")
        self.output, self.seen = b"", 0.0
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execvpe(command[0], list(command), environment)

    @property
    def text(self) -> str:
        """The output without its escape sequences."""
        return ESCAPES.sub(b"", self.output).decode(errors="replace")

    def read(self, seconds: float) -> bool:
        """Take what the child writes next; False when nothing came, or it has ended."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self.fd, 1 << 20)
        except OSError:  # Linux says EIO where the child has ended
            return False
        self.seen = time.perf_counter()
        self.output += chunk
        if MODE_QUERY in chunk:  # as terminals do that paint whole frames
            os.write(self.fd, MODE_ANSWER)
        return bool(chunk)

    def wait_for(self, text: str, seconds: float = 60) -> float:
        """Seconds from exec until `text` was written.

        Raises:
            RuntimeError: it ended or was silent for so long before that.
        """
        while text not in self.text:
            if not self.read(seconds):
                raise RuntimeError(f"no {text!r} in what it wrote: {self.text[-500:]!r}")
        return self.seen - self.started

    def settle(self, quiet: float = 0.3, at_most: float = 5) -> None:
        """Read until it writes nothing for `quiet` seconds."""
        end = time.perf_counter() + at_most
        while time.perf_counter() < end and self.read(quiet):
            pass

    def press(self, key: str) -> Paint:
        """Press a key once all is quiet, and watch what it makes the child write.

        Raises:
            RuntimeError: it painted nothing.
        """
        self.settle()
        self.output = b""
        pressed = time.perf_counter()
        os.write(self.fd, key.encode())
        while FRAME_END not in self.output:
            if not self.read(10):
                raise RuntimeError(f"{key!r} painted nothing")
        first = self.seen - pressed
        self.settle()
        return Paint(first, self.seen - pressed)

    def end(self) -> int:
        """Kill it; the most memory it ever held, in bytes."""
        os.kill(self.pid, signal.SIGKILL)
        _, _, usage = os.wait4(self.pid, 0)
        os.close(self.fd)
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def take_turns(cases: Mapping[str, Callable[[], T]], runs: int) -> dict[str, list[T]]:
    """Return what every case gave, but for its first run; in turns, so that all see the same noise.

    A case that has taken 30 seconds is not run again.
    """
    given: dict[str, list[T]] = {name: [] for name in cases}
    spent = dict.fromkeys(cases, 0.0)
    for turn in range(runs + 1):
        for name, case in cases.items():
            if given[name] and spent[name] > 30:
                continue
            started = time.perf_counter()
            result = case()
            spent[name] += time.perf_counter() - started
            if turn:
                given[name].append(result)
    return given
