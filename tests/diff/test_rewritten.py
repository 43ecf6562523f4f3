"""A file that is written to or truncated while it is read ends in one line, not in a wrong answer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff
from freezetui.diff.validate import validate
from freezetui.errors import CheckpointError

READ = """
import mmap, os, sys
from threading import Thread
from freezetui.cli.progress import end_now
from freezetui.diff.raw import same_bytes
from freezetui.diff.rewritten import ending_if_truncated
path, inside = sys.argv[1], sys.argv[2] == "inside"
with open(path, "wb") as file:
    file.write(bytes(1 << 20))
with open(path, "rb") as file:
    view = memoryview(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE))
with ending_if_truncated(end_now):
    assert same_bytes(view[: 1 << 19], view[1 << 19 :])
    os.truncate(path, 100)
    thread = Thread(target=same_bytes, args=(view[: 1 << 19], view[1 << 19 :]))
    if inside:
        thread.start()
        thread.join()
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGBUS")
def test_a_file_that_is_truncated_is_one_line_and_only_while_it_is_read(tmp_path: Path) -> None:
    for where, code in (("inside", 2), ("after", -signal.SIGBUS)):
        command = [sys.executable, "-c", READ, str(tmp_path / "x"), where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        line = "freezetui: A file was truncated while it was being read. Something is still writing it:"
        assert (done.stderr.startswith(line), done.stderr.count("\n") == 1) == (code == 2, code == 2)


LOOK = """
import json, os, struct, sys
from threading import Event
from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff import stats
from freezetui.tui.values import Values
path, look, seen = sys.argv[1], stats.tensor_stats, Event()
header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 1 << 22]}}).encode()
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + bytes(1 << 22))
def truncate(*arguments):
    os.truncate(path, 100)
    return look(*arguments)
stats.tensor_stats = truncate
checkpoint = open_checkpoint(path)
values = Values(checkpoint)
values.start(checkpoint.tensors[0], seen.set)
assert seen.wait(30)
values.settle()
print(values.lines("w"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGBUS")
def test_the_ui_survives_a_file_that_is_truncated_while_its_values_are_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOOK, str(tmp_path / "x.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("['A file was truncated while it was being read.")


@pytest.mark.parametrize("look", ["diff", "validate"])
def test_what_was_read_from_a_file_that_is_written_is_not_told(tmp_path: Path, look: str) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save({"w": torch.zeros(1 << 18)}, tmp_path / name)
    one, other = (open_checkpoint(tmp_path / name) for name in ("a.pth", "b.pth"))

    def write(_: str) -> None:
        with (tmp_path / "b.pth").open("r+b") as file:
            file.seek(1 << 18)
            file.write(b"x")

    with pytest.raises(CheckpointError, match=r"b\.pth was written to while it was being read"):
        diff(one, other, progress=write) if look == "diff" else validate(other, write)


def test_a_file_that_another_takes_the_place_of_is_still_read(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth", "c.pth"):
        torch.save({"w": torch.full((1 << 18,), float(name == "c.pth"))}, tmp_path / name)
    one, other = (open_checkpoint(tmp_path / name) for name in ("a.pth", "b.pth"))

    def replace(_: str) -> None:
        if (tmp_path / "c.pth").exists():
            (tmp_path / "c.pth").replace(tmp_path / "b.pth")

    assert diff(one, other, progress=replace).identical
