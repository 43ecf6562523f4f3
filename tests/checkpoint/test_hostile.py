"""No file runs code, exhausts memory or raises anything but a CheckpointError."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError
from support.checkpoint_samples import CONTAINERS, training_checkpoint, zipped

RANDOMLY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Runs:
    """Pickled, it asks for a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def tried(path: Path) -> Checkpoint | None:
    """Return the checkpoint, or None where it was refused as it should be."""
    try:
        return open_checkpoint(path)
    except CheckpointError as error:
        assert str(error).isprintable()
        assert error.hint
        return None


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_a_pickle_asks_to_run_is_named_and_not_run(
    write: Callable[..., Path], tmp_path: Path, container: str
) -> None:
    trap = tmp_path / "trapped"
    path = write({"model": {"a": torch.ones(2)}, "x": Runs(os.system, f"touch {trap}")}, container)
    checkpoint = open_checkpoint(path)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
    assert f"{os.name}.system" in checkpoint.foreign
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # torch itself runs it


def test_names_are_kept_but_shown_harmless(write: Callable[..., Path]) -> None:
    (tensor,) = open_checkpoint(write({"a\x1b]0;owned\x07\u202e": torch.ones(2)})).tensors
    assert tensor.name == "a\x1b]0;owned\x07\u202e"


def wide(number: int) -> bytes:
    """Return an integer whose hash is that of all the others."""
    value = (2**61 - 1) * (number + 1000)
    return b"\x8a\x0a" + value.to_bytes(10, "little")


BOMBS = {
    "a memo index of 2**31": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a memo index in text": b"\x80\x02}p999999999999\n.",
    "a string of 2**62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "bytes of 2**40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
    "a long of 2**31 bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
    "lists 200,000 deep": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "tuples 200,000 deep": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "doubling": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 60 + b".",
    "a protocol of 200": b"\x80\xc8}.",
    "no stop": b"\x80\x02}",
    "an empty stack": b"\x80\x02.",
    "marks alone": b"\x80\x02" + b"(" * 1000 + b".",
    "an unknown opcode": b"\x80\x02\xff.",
    "a persistent id of another kind": b"\x80\x02K\x01Q.",
    "attributes of the dict class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\0\0\0aK\x01sb.",
    "extension registry": b"\x80\x02\x82\x01.",
    "integers that collide in a dict": b"\x80\x02}("
    + b"".join(wide(i) + b"N" for i in range(60_000))
    + b"u.",
    "integers that collide in a set": b"\x80\x04\x8f(" + b"".join(map(wide, range(60_000))) + b"\x90.",
    "integers in text that collide": b"\x80\x02}("
    + b"".join(b"I%d\nN" % ((2**61 - 1) * i) for i in range(100, 60_000))
    + b"u.",
    "a long tuple passed again and again": b"\x80\x02ca\nb\nq\0("
    + b"N" * 100_000
    + b"tq\1]("
    + b"h\0h\1R" * 100_000
    + b"e.",
    "4,000,000 empty sets": b"\x80\x04](" + b"\x8f" * 4_000_000 + b"e.",
    "4,000,000 empty dicts": b"\x80\x02](" + b"}" * 4_000_000 + b"e.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_pickle_bombs_cost_neither_memory_nor_time(tmp_path: Path, bomb: str) -> None:
    path = zipped(BOMBS[bomb], tmp_path / "bomb.pth")
    code = (
        "import re, sys\n"
        "from freezetui.checkpoint.open import open_checkpoint\n"
        "from freezetui.errors import CheckpointError\n"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "try: open_checkpoint(sys.argv[1])\n"
        "except CheckpointError as error: print(error)\n"
        "print(peak() - before)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    message, kilobytes = done.stdout.splitlines()
    assert "bomb.pth" in message
    assert int(kilobytes) < 100_000
    assert time.monotonic() - started < 10


def test_a_zip_that_unpacks_to_much_more(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + bytes(2**28) + b".")
    assert tried(path) is None


@pytest.mark.parametrize("how", ["deflated", "reordered", "with a comment", "zip64"])
def test_zips_that_other_tools_packed_anew(write: Callable[..., Path], tmp_path: Path, how: str) -> None:
    original = write(training_checkpoint())
    with zipfile.ZipFile(original) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    if how == "reordered":
        members.reverse()
    path = tmp_path / "anew.pth"
    packing = zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=how == "zip64") as member:
                member.write(content)
        if how == "with a comment":
            archive.comment = b"PK\x05\x06 is no end" * 20
    expected, found = open_checkpoint(original), open_checkpoint(path)
    assert found.tensors == expected.tensors


def test_a_packed_pickle_may_not_be_much_larger_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02](" + b"N" * 2**25 + b"e.")
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="declares a pickle of 33,554,438 bytes"):
        open_checkpoint(path)


def test_members_with_odd_names_wrong_checksums_and_the_same_place(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """Nothing is unpacked to disk, and torch itself loads members whose checksum is wrong."""
    original = write({"a": torch.ones(2)})
    expected = open_checkpoint(original).tensors
    content = bytearray(original.read_bytes())
    for sign, crc in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        content[content.find(sign) + crc] ^= 0xFF
    path = tmp_path / "crc.pth"
    path.write_bytes(content)
    assert open_checkpoint(path).tensors == expected
    assert torch.load(path)["a"].equal(torch.ones(2))
    with zipfile.ZipFile(original) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "names.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("/etc/owned", "../../owned", "file/../../owned", "C:\\owned", "a\x1b[31m"):
            archive.writestr(name, "x")
        for name, data in members.items():
            archive.writestr(name, data)
    assert open_checkpoint(path).tensors == expected
    assert not (tmp_path.parent / "owned").exists()
    content = bytearray(path.read_bytes())
    entries = [m.start() for m in re.finditer(b"PK\x01\x02", content)]
    for at in entries:  # every member claims the place of the first
        content[at + 42 : at + 46] = bytes(4)
    path.write_bytes(content)
    assert tried(path) is None


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["file/data.pkl", "file/Data.PKL", "other/data.pkl", "data.pkl"])
def test_two_pickles_could_be_two_models(write: Callable[..., Path], name: str) -> None:
    path = write({"a": torch.ones(2)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, pickle.dumps({"epoch": 1}, 2))
    if name == "file/data.pkl":
        assert list(torch.load(path)) == ["epoch"]  # not what a reader that stops at the first one sees
    with pytest.raises(CheckpointError, match=r"more than one data.pkl"):
        open_checkpoint(path)


def test_an_encrypted_zip(write: Callable[..., Path]) -> None:
    path = write({"a": torch.ones(2)})
    content = bytearray(path.read_bytes())
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(sign)
        content[at + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="encrypted"):
        open_checkpoint(path)


def header(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEADERS = {
    "a header of 2**62": header({}, length=2**62),
    "a header past the end": header({"a": entry("F32", [1], 0, 4)}, bytes(4), length=10_000),
    "overlapping": header({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 2, 6)}, bytes(6)),
    "a hole": header({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12)),
    "backwards": header({"a": entry("F32", [1], 4, 0)}, bytes(4)),
    "negative sizes": header({"a": entry("F32", [-1, -1], 0, 4)}, bytes(4)),
    "sizes that overflow": header(
        {"a": entry("F32", [2**62, 4, 0], 0, 0), "b": entry("U8", [2**63, 0], 0, 0)}
    ),
    "sizes that overflow before a 0": header({"a": entry("F32", [2**62, 4, 0], 0, 0)}),
    "wrong size": header({"a": entry("F32", [2], 0, 4)}, bytes(4)),
    "unknown dtype": header({"a": entry("F7\x1b", [1], 0, 4)}, bytes(4)),
    "text behind": header({"a": entry("F32", [1], 0, 4)}, bytes(9)),
    "cut": header({"a": entry("F32", [9], 0, 36)}, bytes(9)),
    "not a dict": header(b"[1, 2, 3]      "),
    "no shape": header(b'{"a": {"dtype": "F32", "data_offsets": [0, 4]}}', bytes(4)),
    "no offsets": header(b'{"a": {"dtype": "F32", "shape": [0]}}'),
    "no dtype": header(b'{"a": {"shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
    "an empty entry": header(b'{"a": {}}'),
    "NaN": header(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)),
    "1e400": header(b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}', bytes(4)),
    "5,000 digits": header(
        b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5_000 + b'], "data_offsets": [0, 4]}}', bytes(4)
    ),
    "5,000 digits behind an escape": header(
        b'{"__metadata__": {"\\u0061": ' + b"9" * 5_000 + b"},"
        b' "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        bytes(4),
    ),
    "deep": header(b'{"a":' + b"[" * 100_000),
    "deep metadata": header(b'{"__metadata__":' + b"[" * 100_000),
    "a name twice": header(
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
        b' "a": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}',
        bytes(4),
    ),
    "a name twice, hidden by escapes": header(
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
        b' "\\u0061": {"\\u0064type": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}',
        bytes(4),
    ),
    "no json": header(b"{" + b"\xff" * 20),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_safetensors_headers_that_lie(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[kind])
    assert tried(path) is None


def samples() -> dict[str, bytes]:
    """Return a small file of each format."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    found = {"safetensors": save(dict(model.state_dict()))}
    for container in CONTAINERS:
        for what, value in (
            ("dict", model.state_dict()),
            ("training", training_checkpoint()),
            ("module", model),
        ):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=container == "zip")
            found[f"{container} {what}"] = stream.getvalue()
    return found


SAMPLES = samples()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    content, path = SAMPLES[kind], tmp_path / "cut"
    for length in range(1, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:length])
        checkpoint = tried(path)
        assert checkpoint is None, f"{length} of {len(content)} bytes were enough"


@given(st.data())
@RANDOMLY
def test_no_damage_leads_to_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(data.draw(st.integers(1, 6))):
        # Most of a file is weights; what matters stands at its start or its end.
        at = data.draw(st.one_of(st.integers(0, 800), st.integers(1, 800).map(lambda n: -n)))
        if -len(content) <= at < len(content):
            content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content)
    tried(path)


@given(
    st.lists(st.sampled_from([bytes([code]) for code in range(256)] + [b"ctorch\nSize\n", b"K\x01", b"q\0"]))
)
@RANDOMLY
def test_random_opcodes(tmp_path: Path, opcodes: list[bytes]) -> None:
    tried(zipped(b"\x80\x02" + b"".join(opcodes) + b".", tmp_path / "random.pth"))


def test_pickled_values_of_any_kind(tmp_path: Path) -> None:
    values: list[Any] = [None, 1, 1.5, "x", b"x", [1], (1,), {1}, frozenset((1,)), {"a": 1}, 10**400, {}, []]
    for value in values:
        assert tried(zipped(pickle.dumps(value, 2), tmp_path / "value.pth")) is None
