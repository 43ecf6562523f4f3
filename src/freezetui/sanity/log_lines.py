"""Which lines of the engine's log may tell why a check failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import dropwhile, takewhile

#: Lines to show if a check fails, of so many that are looked at.
MAX_SHOWN, MAX_LOOKED_AT = 12, 200
#: Remarks and warnings of torch and of Python, which fail no check, and the source line below them.
_REMARK = re.compile(r"(\[rank\d+\]:)?(\[?[WID]\d{3,4}[ \]]|.*:\d+: \w*Warning: )")


def telling(log: Sequence[str]) -> list[str]:
    """Return the last lines of a log that may tell why a check failed: without remarks and warnings.

    Of a crash, they are where it happened.
    """
    if frames := crash_frames(log)[: MAX_SHOWN - 1]:
        return ["Traceback (most recent call last):", *reversed(frames)]
    kept, skipped = [], False
    for line in log:
        if _REMARK.match(line):
            skipped = True
        elif not (skipped and line.startswith("  ")):
            kept.append(line)
            skipped = False
    return kept[-MAX_SHOWN:]


def crash_frames(log: Sequence[str]) -> list[str]:
    """Return the lines of the frames in which Python crashed, the innermost first; [] if it did not."""
    crash = dropwhile(lambda line: not line.startswith("Fatal Python error"), log)
    dump = list(dropwhile(lambda line: not line.startswith("Current thread"), crash))
    return list(takewhile(lambda line: line.startswith("  File "), dump[1:]))
