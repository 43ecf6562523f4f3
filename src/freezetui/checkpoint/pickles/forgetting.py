"""Empties the memo of a long pickle between batches of items.

torch puts eight objects of every tensor into the memo, which keeps them until the end, and fetches none but a
few that come first. What is kept here are these, and all else that any opcode might fetch. If one fetches
something else nevertheless, the unpickler fails, and the pickle is to be read again as it is.
"""

from __future__ import annotations

import re
from mmap import mmap

from freezetui.checkpoint.pickles.opcodes import Walked

#: The module of the globals that stand for emptying the memo, and for what was in it.
FORGET = "-memo-"
#: What may be an opcode that fetches one of the later objects. There are few different ones.
_LONG_GET = re.compile(rb"(?s)j(..[\0-\x3f]\0)")
_MAX_KEPT = 64


class CannotForgetError(Exception):
    """The pickle may fetch what was removed from the memo."""


def forgetting(data: bytes | mmap, start: int, walked: Walked) -> dict[int, bytes]:
    """Return the opcodes that empty the memo, by the offset of the opcode that they are added after.

    They fetch what is to be kept, call the global `FORGET` "all" with it, and put each back: it is the global
    `FORGET` of its number among those kept.
    """
    if not walked.full:
        return {}
    later = {*_LONG_GET.findall(data, start, walked.end)}
    if len(later) > _MAX_KEPT:
        return {}
    first = walked.full[0]
    kept = [(0, b"%c" % index) for index in range(256) if data.find(b"q%c" % index, start, first) >= 0]
    kept += [(at, index) for index in later if (at := data.find(b"r" + index, start, walked.end)) >= 0]
    return {at: _opcodes([index for put, index in kept if put < at]) for at in walked.full}


def _opcodes(kept: list[bytes]) -> bytes:
    gets = b"".join((b"h" if len(index) == 1 else b"j") + index for index in kept)
    puts = b"".join(
        b"c%b\n%d\n" % (FORGET.encode(), number) + (b"q" if len(index) == 1 else b"r") + index + b"0"
        for number, index in enumerate(kept)
    )
    return b"c%b\nall\n(" % FORGET.encode() + gets + b"tR0" + puts
