"""A checkpoint that a child reads is the one that this process would read; so are its errors."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import freezetui.checkpoint.open
from freezetui.checkpoint.forked_reading import ForkedReading, fork_reading
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint, Found, TensorInfo
from freezetui.errors import CheckpointError, NetworkError
from support.checkpoint_samples import odd_state_dict, training_checkpoint
from support.processes import ends

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")

Write = Callable[..., Path]


def silently(text: str) -> None:
    """Take progress that nobody looks at."""


def read_by_child(*sources: str, key: str | None = None) -> Checkpoint | None:
    return ForkedReading(sources, key).result(silently)


def reading_is(monkeypatch: pytest.MonkeyPatch, instead: Callable[..., Any]) -> None:
    """Replace what the child does."""
    monkeypatch.setattr(freezetui.checkpoint.open, "open_checkpoint", instead)


def many_tensors(count: int) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(f"layers.{number}.weight", (number, 2), "float32") for number in range(count))


@pytest.mark.parametrize("count", [8191, 8192, 8193, 20_000])
def test_many_tensors_arrive_in_order(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    checkpoint = Checkpoint("x", "test", many_tensors(count))
    reading_is(monkeypatch, lambda *_, **__: checkpoint)
    assert read_by_child("x") == checkpoint


def test_many_tensors_of_a_file_are_told_while_it_is_read(write: Write) -> None:
    path = str(write({f"layers.{number}.weight": torch.zeros(1) for number in range(10_000)}))
    told: list[Sequence[TensorInfo]] = []
    checkpoint = open_checkpoint([path], found=told.append)
    assert len(told) > 1
    assert tuple(tensor for some in told for tensor in some) == checkpoint.tensors
    assert read_by_child(path) == checkpoint


@pytest.mark.parametrize("count", [0, 3, 10_000])
def test_what_was_told_and_is_not_so_is_forgotten(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    checkpoint = Checkpoint("x", "test", many_tensors(count))

    def read(*_: object, found: Found, **__: object) -> Checkpoint:
        found(many_tensors(5))
        found(many_tensors(5000))
        return checkpoint

    reading_is(monkeypatch, read)
    assert read_by_child("x") == checkpoint


@pytest.mark.parametrize(
    "value", [odd_state_dict, training_checkpoint, lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))]
)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_the_child_reads_the_same(write: Write, value: Callable[[], Any], container: str) -> None:
    contents = value()
    if container == "legacy" and isinstance(contents, dict):
        contents.pop("fp8.weight", None)  # torch itself refuses to write it there
    path = str(write(contents, container))
    assert read_by_child(path) == open_checkpoint([path])


def test_several_files_and_a_directory(tmp_path: Path) -> None:
    for number in (1, 2):
        tensors = nn.Linear(2, number).state_dict()
        save_file(
            {f"{number}.{name}": tensor for name, tensor in tensors.items()},
            tmp_path / f"model-0000{number}-of-00002.safetensors",
        )
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    assert read_by_child(*paths) == open_checkpoint(paths)
    assert read_by_child(str(tmp_path)) == open_checkpoint([str(tmp_path)])


def test_a_key(write: Write) -> None:
    state_dict = nn.Linear(2, 2).state_dict()
    path = str(write({"model": state_dict, "ema": state_dict}))
    checkpoint = read_by_child(path, key="ema")
    assert checkpoint is not None
    assert checkpoint.key == "ema"


def test_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError) as here:
        open_checkpoint([str(path)])
    with pytest.raises(CheckpointError) as there:
        read_by_child(str(path))
    assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


def test_errors_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NetworkError("the server is silent", "Try again.")

    reading_is(monkeypatch, fail)
    with pytest.raises(CheckpointError, match=r"the server is silent Try again\."):
        read_by_child("x")


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(sources: list[str], *, progress: Callable[[str], None], **_: object) -> Checkpoint:
        for number in range(3):
            progress(f"{number} of 3 ☃")
        return Checkpoint(sources[0], "test", ())

    reading_is(monkeypatch, read)
    told: list[str] = []
    assert ForkedReading(["x"], None).result(told.append) == Checkpoint("x", "test", ())
    assert told == ["0 of 3 ☃", "1 of 3 ☃", "2 of 3 ☃"]


@pytest.mark.parametrize(
    "unsendable",
    [
        lambda: 1 / 0,  # nobody foresaw it
        lambda: Checkpoint("\udcff", "a path that is not valid UTF-8", ()),
        lambda: Checkpoint("x", "a number beyond 64 bits", (), size=2**70),
        lambda: Checkpoint(
            "x", "the last of many tensors", (*many_tensors(20_000), TensorInfo("\udcff", (), "int8"))
        ),
    ],
)
def test_what_cannot_be_sent_is_read_here(
    monkeypatch: pytest.MonkeyPatch, unsendable: Callable[[], Any]
) -> None:
    reading_is(monkeypatch, lambda *_, **__: unsendable())
    assert read_by_child("x") is None


def test_a_child_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading_is(monkeypatch, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CheckpointError, match=r"x: the process that read it was ended by SIGKILL\."):
        read_by_child("x")


def test_the_child_is_silent_and_leaves_no_zombie(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def read(sources: list[str], **_: object) -> Checkpoint:
        for standard in (1, 2):
            os.write(standard, b"on the screen of the TUI")
        return Checkpoint(sources[0], "test", ())

    reading_is(monkeypatch, read)
    reading = ForkedReading(["x"], None)
    reading.result(silently)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(reading.pid, 0)  # a zombie can be found, too
            time.sleep(0.05)


def test_the_child_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        time.sleep(60)

    reading_is(monkeypatch, read)
    theirs, ours = os.pipe()
    parent = os.fork()
    if parent == 0:
        reading = ForkedReading(["x"], None)
        os.write(ours, reading.pid.to_bytes(4, "little"))
        time.sleep(60)
        os._exit(0)
    child = int.from_bytes(os.read(theirs, 4), "little")
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    os.close(ours)
    os.close(theirs)
    assert ends(child)


def test_no_fork_beside_threads() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert fork_reading(["x"], None) is None
    finally:
        done.set()
        thread.join()


def test_nothing_is_lost_on_the_way() -> None:
    """Every field that is omitted while it has its default comes back."""
    for kind in (msgspec.msgpack, msgspec.json):
        checkpoint = open_checkpoint(["sample_ckpts/vgg_digits.pth"])
        assert kind.decode(kind.encode(checkpoint), type=Checkpoint) == checkpoint
