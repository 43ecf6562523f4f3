"""Checks the opcodes of a pickle before the C unpickler trusts what they declare.

Nine bytes can request a memo of 64 GB, and a length of 2**62 as many bytes. This walk, mostly one regular
expression, takes a quarter of the time of the unpickling itself. It also replaces the opcodes that create
dicts and sets: they hash what the pickle gives, and a key can be made whose hash never returns.
"""

from __future__ import annotations

import pickle
import re
from array import array
from collections.abc import Mapping
from functools import cache
from mmap import mmap
from typing import NamedTuple

_SHORT = b"|".join(re.escape(bytes([length])) + rb"\0\0\0.{%d}" % length for length in range(97))
_PUT = rb"(?:q.|r..[\0-\x3f]\0)"

#: What torch writes per tensor, so that its thirty opcodes match in a few steps.
_TENSOR = (
    rb"\x86" + _PUT,
    rb"h.\(\(h.h.",
    rb"h.K.t" + _PUT + rb"QK.",
    rb"[\x88\x89]h.\)R" + _PUT + b"t" + _PUT + b"R" + _PUT,
    rb"X(?:" + _SHORT + rb")",
)
#: Opcodes that cannot declare much: memo indices below 4 M.
_HARMLESS = (
    rb"[()tRQse\]alb0-2No\x81\x85-\x89\x92\x93\x97\x98]+",
    rb"u(?!\(X)",
    rb"[qhK\x80\x82].",
    rb"r..[\0-\x3f]\0",
    rb"[M\x83].{2}",
    rb"[Jj\x84].{4}",
    rb"[G\x95].{8}",
)
#: In a shorter pickle fewer kinds of opcodes match: compiling the rest would take longer than it saves.
_MIN_LONG = 1 << 15

_STOP, _PUT_LINE, _LONG_PUT, _SET_ITEMS, _MEMOIZE = b".pru\x94"
_INTEGERS = frozenset(b"\x8a\x8bIL")
#: Integers beyond 64 bits: a model has few (the state of a generator), and 60,000 can be chosen to collide in
#: a dict, which then takes 20 seconds to fill.
_MAX_WIDE = 1000
_WIDE_BYTES, _WIDE_DIGITS = 8, 20
#: Containers of one opcode that take 64 to 216 bytes of memory. In real files containers have contents.
_MAX_EMPTY, _BYTES_FOR_EACH = 1_000_000, 16
_PIECE = 1 << 24
#: Bytes of a pickle after which the memo may be emptied.
_BATCH = 1 << 20
#: How a pickle made safe requests a dict: a global that no module can have, called without arguments.
SAFE_DICT = ("-", "}")
_NEW_DICT = b"c-\n}\n)R"
#: Opcodes that hash what is on the stack -> their replacement: a dict that checks its keys, and lists for
#: sets. Picklers write DICT only for an empty one, right after its mark.
_SAFE = {
    ord("}"): _NEW_DICT,
    ord("d"): b"1" + _NEW_DICT,
    0x8F: b"]",
    0x90: b"e",
    0x91: b"l",
}
_LINES = {**dict.fromkeys(b"IFLSVPpg", 1), **dict.fromkeys(b"ci", 2)}
#: Opcode -> the width of the length that follows it.
_COUNTED = {
    **dict.fromkeys(b"UC\x8c\x8a", 1),
    **dict.fromkeys(b"XTB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}


class Walked(NamedTuple):
    """A checked pickle.

    Attributes:
        end: the offset of its end in the data.
        hashing: the offsets of the opcodes that hash, in order.
        full: the offsets of opcodes that add items to a dict before more are added, some distance apart; none
            if an opcode counts what is in the memo.
    """

    end: int
    hashing: array[int]
    full: array[int]


def walk(data: bytes | mmap, start: int = 0) -> Walked:
    """Check the pickle that starts at `start`.

    Raises:
        EOFError: it is truncated.
        pickle.UnpicklingError: an unknown opcode, or a memo index that no pickle of this length can reach.
        MemoryError: more containers, or more huge integers, than a pickle of this length should have.
    """
    walked = _walked(data, start)
    # Counts brackets inside strings too, hence the allowance of one for every sixteen bytes.
    lists = _count(data, b"]", start, walked.end)
    if lists + len(walked.hashing) > _MAX_EMPTY + (walked.end - start) // _BYTES_FOR_EACH:
        raise MemoryError
    return walked


def made_safe(
    data: bytes | mmap, start: int, walked: Walked, forgotten: Mapping[int, bytes] = {}
) -> list[bytes | memoryview]:
    """Return the pickle without opcodes that hash, in pieces; it contains no offsets, so it may grow.

    Args:
        forgotten: what to add after some opcodes, by their offsets; see `forgetting`.
    """
    view, done = memoryview(data), start
    pieces: list[bytes | memoryview] = []
    for at in sorted((*walked.hashing, *forgotten)) if forgotten else walked.hashing:
        pieces += [view[done:at], _SAFE.get(data[at]) or data[at : at + 1] + forgotten[at]]
        done = at + 1
    return [*pieces, view[done : walked.end]]


def _walked(data: bytes | mmap, start: int) -> Walked:
    at, size = start, len(data)
    wide, hashing, full = 0, array("q"), array("q")
    long, memoizing, batched = size - start >= _MIN_LONG, False, start + _BATCH
    pattern = _run(long)
    most = _MAX_EMPTY + (size - start) // _BYTES_FOR_EACH
    while at < size:
        run = pattern.match(data, at)
        if run:
            at = run.end()
            continue
        opcode = data[at]
        if opcode == _STOP:
            return Walked(at + 1, hashing, full)
        if opcode in _SAFE:
            hashing.append(at)
            at += 1
            if len(hashing) > most:
                raise MemoryError
            continue
        if opcode == _SET_ITEMS:
            if not memoizing and at >= batched:
                full.append(at)
                batched = at + _BATCH
            at += 1
            continue
        if opcode == _MEMOIZE:
            memoizing, pattern, full = True, _run(long, memoizing=True), array("q")
            continue
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
        elif at + 9 > size:  # a truncated operand
            break
        else:
            raise pickle.UnpicklingError(f"unknown opcode {opcode:#04x}")
        if wide > _MAX_WIDE:
            raise MemoryError
    raise EOFError


@cache
def _run(long: bool, memoizing: bool = False) -> re.Pattern[bytes]:
    """Return what matches opcodes that need no look.

    Args:
        long: whether it also matches what makes up most of a long pickle.
        memoizing: whether it matches the opcode that counts what is in the memo.
    """
    kinds = (*_HARMLESS, b"\x94+") if memoizing else _HARMLESS
    return re.compile(b"(?s)(?:" + b"|".join((*_TENSOR, *kinds) if long else kinds) + b"){1,4000}")


def _count(data: bytes | mmap, opcode: bytes, start: int, end: int) -> int:
    """Count an opcode's byte; a map cannot count, so pieces of it are copied."""
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
    """Check a memo index: each opcode stores at most one object, so a valid index is not larger."""
    if not 0 <= index <= opcodes:
        raise pickle.UnpicklingError("memo index out of range")
