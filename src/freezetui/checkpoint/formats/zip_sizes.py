"""The sizes of the storages in a zip as torch writes it: a column of its directory."""

from __future__ import annotations

import struct

#: Of an entry of the directory: its fixed part, and where the size and the lengths of what follows stand.
_FIXED, _SIZE, _LENGTHS, _WIDE = 46, 24, 28, 0xFFFFFFFF
_SIGN = b"PK\x01\x02"


def ordered_sizes(entries: bytes, folder: bytes) -> list[int] | None:
    """The sizes in bytes of the members called `folder` + 0, 1, 2 and on, by that number.

    None where they do not follow one another in the directory, or one takes more than 32 bits.

    Args:
        entries: the directory.
    """
    last = entries.rfind(folder)
    digits = entries[last + len(folder) : last + len(folder) + 20].split(b"P")[0] if last >= 0 else b""
    start = entries.find(folder + b"0") - _FIXED
    if not digits.isdigit() or start < 0:
        return None
    sizes: list[int] = []
    while len(sizes) <= int(digits):
        # Numbers of one length make entries of one length.
        width, stop = len(str(len(sizes))), min(10 ** len(str(len(sizes))), int(digits) + 1)
        found = _block(entries, start, folder, width, len(sizes), stop)
        if found is None:
            return None
        start += found[0]
        sizes += found[1]
    return sizes


def _block(
    entries: bytes, start: int, folder: bytes, width: int, low: int, high: int
) -> tuple[int, tuple[int, ...]] | None:
    """The bytes of the entries of some numbers, and their sizes; None where they are not there in order."""
    lengths = struct.unpack_from("<3H", entries.ljust(start + _FIXED), start + _LENGTHS)
    step, count = _FIXED + sum(lengths), high - low
    block = entries[start : start + count * step]
    if lengths[0] != len(folder) + width or len(block) < count * step:
        return None
    # Every column must be what it is in the first entry; that of the last digits counts.
    numbers = "".join(map(str, range(low, high))).encode()
    same = {**dict(enumerate(_SIGN)), **dict(enumerate(struct.pack("<3H", *lengths), _LENGTHS))}
    same |= dict(enumerate(folder, _FIXED))
    columns = {at: bytes([byte]) * count for at, byte in same.items()}
    columns |= {_FIXED + len(folder) + at: numbers[at::width] for at in range(width)}
    if any(block[at::step] != expected for at, expected in columns.items()):
        return None
    sizes = bytearray(4 * count)
    for at in range(4):
        sizes[at::4] = block[_SIZE + at :: step]
    values = struct.unpack(f"<{count}L", sizes)
    return None if _WIDE in values else (count * step, values)
