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
_INTEGERS = frozenset(b"\x8a\x8bIL")
#: Integers beyond 64 bits: a model holds few (the state of a generator), and 60,000 of them can be chosen so
#: that they collide in a dict, which then takes 20 seconds to fill.
_MOST_WIDE = 1000
_WIDE_BYTES, _WIDE_DIGITS = 8, 20
#: Containers that take no byte but their opcode, and 64 to 216 bytes of memory. Honest files hold something.
_EMPTY = (b"}", b"]", b"\x8f", b"\x91")
_PIECE = 1 << 24
_MOST_EMPTY, _BYTES_FOR_EACH = 1_000_000, 16
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
        MemoryError: it holds more containers, or more huge integers, than a file of its length has reason to.
    """
    end = _walked(data, start)
    # Counts those inside strings too, which is why there may be one for every sixteen bytes.
    if (
        sum(_count(data, opcode, start, end) for opcode in _EMPTY)
        > _MOST_EMPTY + (end - start) // _BYTES_FOR_EACH
    ):
        raise MemoryError
    return end


def _walked(data: bytes | mmap, start: int) -> int:
    at, size = start, len(data)
    wide = 0
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
            length = int.from_bytes(data[at + 1 : at + 1 + width], "little")
            wide += opcode in _INTEGERS and length > _WIDE_BYTES
            at += 1 + width + length
        elif opcode in _LINES:
            end = _line_end(data, at + 1, _LINES[opcode])
            wide += opcode in _INTEGERS and end - at > _WIDE_DIGITS
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
        if wide > _MOST_WIDE:
            raise MemoryError
    raise EOFError


def _count(data: bytes | mmap, opcode: bytes, start: int, end: int) -> int:
    """A map counts nothing itself; a piece of it, copied, does."""
    if isinstance(data, bytes):
        return data.count(opcode, start, end)
    return sum(data[at : min(at + _PIECE, end)].count(opcode) for at in range(start, end, _PIECE))


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
