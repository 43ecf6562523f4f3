"""Whether a process still runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

_PROC = Path("/proc")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
        if not _PROC.exists():
            return True
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def ends(pid: int, seconds: float = 10) -> bool:
    """Whether a process has ended after at most so many seconds."""
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)
