"""The fast way to the sizes of storages says what the slow one says, or nothing."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.formats import zip_directory
from freezetui.checkpoint.formats.zip_directory import ZipDirectory


def directory(members: list[tuple[str, int]], comment: bytes = b"") -> ZipDirectory:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, size in members:
            info = zipfile.ZipInfo(name)
            info.comment = comment
            archive.writestr(info, bytes(size))
    return ZipDirectory(stream, len(stream.getvalue()), "x")


def torch_like(sizes: list[int]) -> list[tuple[str, int]]:
    data = [(f"x/data/{number}", size) for number, size in enumerate(sizes)]
    return [("x/data.pkl", 5), ("x/byteorder", 6), *data, ("x/version", 2), ("x/.data/serialization_id", 40)]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 99, 100, 101, 1234, 3100])
@pytest.mark.parametrize("comment", [b"", b"PK\x01\x02"])
def test_what_torch_writes(count: int, comment: bytes) -> None:
    sizes = [number * 7 % 300 for number in range(count)]
    assert directory(torch_like(sizes), comment).ordered_sizes("x/data/") == sizes


@pytest.mark.parametrize("count", [12, 120])
@pytest.mark.parametrize(
    "change", ["missing", "swapped", "other name", "other folder", "a huge number", "none"]
)
def test_what_is_not_in_order_is_left_to_the_slow_way(count: int, change: str) -> None:
    members = torch_like([4] * count)
    at = 2 + count - 3
    if change == "missing":
        del members[at]
    elif change == "swapped":
        members[at], members[at + 1] = members[at + 1], members[at]
    elif change == "other name":
        members[at] = (f"x/data/{'q' * len(str(count - 3))}", 4)
    elif change == "other folder":
        members[at] = (f"y/data/{count - 3}", 4)
    elif change == "a huge number":
        members.append(("x/data/99999999999999", 4))
    else:
        members = members[:2]
    assert directory(members).ordered_sizes("x/data/") is None


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_of_any_kind_raise_nothing(front: bytes, behind: bytes) -> None:
    from freezetui.checkpoint.formats.zip_sizes import ordered_sizes

    ordered_sizes(front + b"x/data/0" + behind, b"x/data/")
    ordered_sizes(front, b"x/data/")


def test_a_name_is_found_wherever_the_directory_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    found = directory([("x/data.pkl", 1), ("x/DATA.pkl", 1), ("x/data.pk", 1)])
    for piece in range(1, 60):
        monkeypatch.setattr(zip_directory, "_PIECE", piece)
        assert found.mentions(b"data.pkl") == 2


def test_a_directory_that_was_released_is_read_again() -> None:
    found = directory(torch_like([3] * 30))
    before = list(found.members())
    found.release()
    assert list(found.members()) == before and len(before) == 34
