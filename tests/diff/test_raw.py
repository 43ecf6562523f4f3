"""Bytes compared in place, and what is unmapped afterwards."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from freezetui.diff.raw import let_go, same_bytes


@pytest.fixture
def view(tmp_path: Path):
    """A copy-on-write map of three megabytes, as of a checkpoint."""
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 3 * 4096)
    with path.open("rb") as file:
        yield memoryview(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux unmaps parts of a map")
def test_what_was_compared_is_unmapped_and_read_from_the_file_again(view):
    content = bytes(view)
    part = view[100 : 2 << 20]
    for place in (200, 1 << 20):  # a private page, which unmapping discards, shows what was unmapped
        view[place] ^= 1
    let_go(part)
    assert bytes(view) == content
    view[(2 << 20) + 1] ^= 1  # after it
    let_go(part)
    assert bytes(view[2 << 20 :]) != content[2 << 20 :]


def test_memory_that_is_not_of_a_file_is_kept():
    data = bytearray(b"x" * (4 << 20))
    let_go(memoryview(data))
    assert data == b"x" * (4 << 20)


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1, 3 << 20])
def test_one_different_byte_is_found(view, size):
    same = bytearray(view[:size])
    assert same_bytes(view[:size], memoryview(same))
    for place in {0, size // 2, size - 1} if size else ():
        same[place] ^= 1
        assert not same_bytes(view[:size], memoryview(same))
        same[place] ^= 1
