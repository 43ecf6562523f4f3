"""Reads the sizes of the storages in a zip written by torch, as a column of its directory."""

from __future__ import annotations

import struct
from mmap import mmap

#: Of a directory entry: size of its fixed part, and offsets of the size and of the lengths of what follows.
_FIXED, _SIZE, _LENGTHS, _WIDE = 46, 24, 28, 0xFFFFFFFF
#: Entries to look at together, which the processor's cache holds.
_MAX_BLOCK = 2048
_SIGN = b"PK\x01\x02"


def ordered_sizes(entries: bytes | mmap, prefix: bytes) -> list[int] | None:
    """Return the sizes in bytes of the members named `prefix` + 0, 1, 2 and so on, by that number.

    None if they are not in that order in the directory, or a size takes more than 32 bits.

    Args:
        entries: the directory.
    """
    last = entries.rfind(prefix)
    digits = entries[last + len(prefix) : last + len(prefix) + 20].split(b"P")[0] if last >= 0 else b""
    start = entries.find(prefix + b"0") - _FIXED
    if not digits.isdigit() or start < 0:
        return None
    sizes: list[int] = []
    while len(sizes) <= int(digits):
        # Numbers with equally many digits have entries of equal length.
        width = len(str(len(sizes)))
        stop = min(10**width, int(digits) + 1, len(sizes) + _MAX_BLOCK)
        found = _block(entries, start, prefix, width, len(sizes), stop)
        if found is None:
            return None
        start += found[0]
        sizes += found[1]
    return sizes


def _block(
    entries: bytes | mmap, start: int, prefix: bytes, width: int, low: int, high: int
) -> tuple[int, tuple[int, ...]] | None:
    """Return the bytes that the entries of some numbers take, and their sizes; None if not in order."""
    if start + _FIXED > len(entries):
        return None
    lengths = struct.unpack_from("<3H", entries, start + _LENGTHS)
    step, count = _FIXED + sum(lengths), high - low
    block = entries[start : start + count * step]
    if lengths[0] != len(prefix) + width or len(block) < count * step:
        return None
    # Every column must be the same as in the first entry, except the digits, which must count up.
    numbers = "".join(map(str, range(low, high))).encode()
    same = {**dict(enumerate(_SIGN)), **dict(enumerate(struct.pack("<3H", *lengths), _LENGTHS))}
    same |= dict(enumerate(prefix, _FIXED))
    columns = {at: bytes([byte]) * count for at, byte in same.items()}
    columns |= {_FIXED + len(prefix) + at: numbers[at::width] for at in range(width)}
    if any(block[at::step] != expected for at, expected in columns.items()):
        return None
    sizes = bytearray(4 * count)
    for at in range(4):
        sizes[at::4] = block[_SIZE + at :: step]
    values = struct.unpack(f"<{count}L", sizes)
    return None if _WIDE in values else (count * step, values)
