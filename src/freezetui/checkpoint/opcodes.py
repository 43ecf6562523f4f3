"""A pickle's opcodes, walked before the C unpickler believes what they claim.

Nine bytes can ask for a memo of 64 GB, and a length of 2**62 for as many bytes. This walk, most of it one
regular expression, takes a quarter of the time of the unpickling itself.
"""

from __future__ import annotations

import pickle
import re
from mmap import mmap

_SHORT = b"|".join(re.escape(bytes([length])) + rb"\0\0\0.{%d}" % length for length in range(97))
_PUT = rb"(?:q.|r..[\0-\x3f]\0)"

#: What torch writes for each tensor, so that its thirty opcodes match in a few steps.
_TENSOR = (
    rb"\x86" + _PUT,
    rb"h.\(\(h.h.",
    rb"h.K.t" + _PUT + rb"QK.",
    rb"[\x88\x89]h.\)R" + _PUT + b"t" + _PUT + b"R" + _PUT,
)
#: Opcodes that can claim nothing much: memo indices below 4 M, strings below 97 bytes.
_HARMLESS = (
    rb"[()tRQuse}\]aldb0-2No\x81\x85-\x89\x8f-\x94\x97\x98]+",
    rb"[qhK\x80\x82].",
    rb"X(?:" + _SHORT + rb")",
    rb"r..[\0-\x3f]\0",
    rb"[M\x83].{2}",
    rb"[Jj\x84].{4}",
    rb"[G\x95].{8}",
)
_RUN = re.compile(rb"(?s)(?:" + b"|".join(_TENSOR + _HARMLESS) + rb"){1,4000}")

_STOP, _PUT_LINE, _LONG_PUT = b".pr"
_LINES = {**dict.fromkeys(b"IFLSVPpg", 1), **dict.fromkeys(b"ci", 2)}
#: Opcode -> the width of the length that follows it.
_COUNTED = {
    **dict.fromkeys(b"UC\x8c\x8a", 1),
    **dict.fromkeys(b"XTB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}


def pickle_end(data: bytes | mmap, start: int = 0) -> int:
    """Where the pickle that starts at `start` ends.

    Raises:
        EOFError: it breaks off.
        pickle.UnpicklingError: an unknown opcode, or a memo index that no pickle of this length can reach.
    """
    at, size = start, len(data)
    while at < size:
        run = _RUN.match(data, at)
        if run:
            at = run.end()
            continue
        opcode = data[at]
        if opcode == _STOP:
            return at + 1
        if opcode in _COUNTED:
            width = _COUNTED[opcode]
            at += 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "little")
        elif opcode in _LINES:
            end = _line_end(data, at + 1, _LINES[opcode])
            if opcode == _PUT_LINE:
                _check(int(data[at + 1 : min(end, at + 24)]), at - start)
            at = end
        elif opcode == _LONG_PUT:
            _check(int.from_bytes(data[at + 1 : at + 5], "little"), at - start)
            at += 5
        elif at + 9 > size:  # an operand is cut in the middle
            break
        else:
            raise pickle.UnpicklingError(f"unknown opcode {opcode:#04x}")
    raise EOFError


def _line_end(data: bytes | mmap, at: int, lines: int) -> int:
    for _ in range(lines):
        at = data.find(b"\n", at) + 1
        if not at:
            raise EOFError
    return at


def _check(index: int, opcodes: int) -> None:
    """Each opcode puts at most one object into the memo, so an honest index counts no further."""
    if not 0 <= index <= opcodes:
        raise pickle.UnpicklingError("memo index out of range")
