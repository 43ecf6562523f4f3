"""Which lines of the engine's log may tell why a check failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Lines to show if a check fails, of so many that are looked at.
MAX_SHOWN, MAX_LOOKED_AT = 12, 200
#: Remarks and warnings of torch and of Python, which fail no check, and the source line below them.
_REMARK = re.compile(r"(\[rank\d+\]:)?(\[?[WID]\d{3,4}[ \]]|.*:\d+: \w*Warning: )")


def telling(log: Sequence[str]) -> list[str]:
    """Return the last lines of a log that may tell why a check failed: without remarks and warnings."""
    kept, skipped = [], False
    for line in log:
        if _REMARK.match(line):
            skipped = True
        elif not (skipped and line.startswith("  ")):
            kept.append(line)
            skipped = False
    return kept[-MAX_SHOWN:]
