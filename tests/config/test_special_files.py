"""What is not a regular file is written to directly or refused in one line; a bad name is one line too."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from freezetui.config.codec import read_config, write_config
from freezetui.config.paths import why_no_config
from freezetui.config.schema import ConfigData
from freezetui.errors import ConfigError
from freezetui.freeze.rules import Rule
from freezetui.session.options import Options
from freezetui.session.session import Session
from support.command_line import run

CONFIG = ConfigData(rules=(Rule("freeze", "a"),))
FAILURES = [errno.EROFS, errno.ENOSPC, errno.EXDEV, errno.ENAMETOOLONG, errno.EISDIR, errno.EACCES, errno.EIO]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A safetensors file with one tensor."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return path


def test_a_fifo_with_a_reader_gets_the_text_and_stays_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    for _ in range(1000):  # until the reader has opened it
        try:
            write_config(path, CONFIG)
            break
        except ConfigError:
            threading.Event().wait(0.01)
    reader.join(20)
    assert stat.S_ISFIFO(path.stat().st_mode)
    copy = tmp_path / "copy.yaml"
    copy.write_text(read[0])
    assert read_config(copy) == CONFIG


def test_a_fifo_without_a_reader_is_one_line_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="Nothing reads from this pipe"):
        write_config(tmp_path / "a.yaml", CONFIG)


def test_a_reader_that_stops_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freezetui.config.atomic._MAX_WAIT_S", 0.1)
    path = tmp_path / "a.yaml"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    rules = tuple(Rule("freeze", f"module{i}") for i in range(10_000))
    with pytest.raises(ConfigError, match="has stopped"):
        write_config(path, ConfigData(rules=rules))
    os.close(reader)


@pytest.mark.parametrize("link", [False, True])
def test_devices_stay_devices(tmp_path: Path, link: bool) -> None:
    for device, said in (("/dev/null", ""), ("/dev/full", "No space left")):
        path = Path(device)
        if link:
            path = tmp_path / f"{path.name}.yaml"
            path.symlink_to(device)
        before = Path(device).stat()
        if said:
            with pytest.raises(ConfigError, match=said):
                write_config(path, CONFIG)
        else:
            write_config(path, CONFIG)
        assert Path(device).stat().st_rdev == before.st_rdev
        assert path.is_symlink() == link


def test_plan_to_stderr(checkpoint: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "freezetui",
        "plan",
        str(checkpoint),
        "--freeze",
        "a",
        "-o",
        "/dev/stderr",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "freeze: a" in done.stderr


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_plan_to_stdout_is_the_config_and_nothing_else(checkpoint: Path, tmp_path: Path, output: str) -> None:
    command = [sys.executable, "-m", "freezetui", "plan", str(checkpoint), "--freeze", "a", "-o", output]
    piped = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    with (tmp_path / "file.yaml").open("w") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.PIPE, cwd=tmp_path, check=True)
    assert piped.returncode == 0
    assert "frozen" in piped.stderr
    assert (tmp_path / "file.yaml").read_text() == piped.stdout
    config = read_config(tmp_path / "file.yaml")
    assert config.rules == (Rule("freeze", "a"),)
    assert config.model.checkpoint == "model.safetensors"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.yaml", "model.safetensors"]


def test_other_outputs_of_plan(checkpoint: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for output, said in (
        ("/dev/full", "No space left on device"),
        (tmp_path / "fifo", "Nothing reads from this pipe"),
        (tmp_path, "is not a file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "none" / "x.yaml", "No such file or directory"),
        ("/proc/x.yaml", ""),
        ("/dev/null", None),
        (tmp_path / ("x" * 240 + ".yaml"), None),
    ):
        done = run("plan", checkpoint, "--freeze", "a", "-o", output)
        assert "Traceback" not in done.stderr, output
        if said is None:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 2, done.stderr
            assert said in done.stderr
            assert done.stderr.count("\n") == 1
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("config", ["fifo", "/dev/zero", "/dev/full", ".", "x" * 300])
def test_a_config_that_is_not_a_file_is_one_line(checkpoint: Path, tmp_path: Path, config: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    for command in (["show", checkpoint], ["check", checkpoint], ["diff", checkpoint, checkpoint]):
        done = run(*command, "--config", config, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("obstacle", ["directory", "long", "fifo"])
def test_what_is_in_the_way_of_the_config_is_told_when_saving(
    checkpoint: Path, tmp_path: Path, obstacle: str
) -> None:
    if obstacle == "long":
        checkpoint = checkpoint.rename(tmp_path / ("m" * 245 + ".pth"))
    elif obstacle == "fifo":
        os.mkfifo(tmp_path / "model.freeze.yaml")
    else:
        (tmp_path / "model.freeze.yaml").mkdir()
    before = sorted(file.name for file in tmp_path.iterdir())
    assert run("show", checkpoint).returncode == 0
    done = run("plan", checkpoint, "--freeze", "a")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "-o FILE" in done.stderr
    session = Session(Options(str(checkpoint)))
    assert session.saved.problem is None
    assert session.saved.why_not_write(session.config_path) == ""
    with pytest.raises(ConfigError, match="another name"):
        session.save()
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    assert run("plan", checkpoint, "--freeze", "a", "-o", tmp_path / "other.yaml").returncode == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("~nosuchuser/x.yaml", "no such user"),
        ("x" * 300 + ".yaml", "too long"),
        ("x" * 300 + "/x.yaml", "No such directory"),
        ("a\0b.yaml", "NUL"),
        ("/dev/null/x.yaml", "No such directory"),
    ],
)
def test_names_that_cannot_be_saved_under(name: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in why_no_config(name)


@pytest.mark.parametrize("number", FAILURES)
@pytest.mark.parametrize("function", ["open", "fsync", "replace", "rename"])
def test_any_error_of_a_save_is_one_line_and_the_old_file_stays(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    path = tmp_path / "model.freeze.yaml"
    path.write_text("not: a config")
    session = Session(Options(str(checkpoint)))
    assert session.saved.problem is not None

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    target = tmp_path / "other.yaml" if function != "rename" else path
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if function == "fsync" else (Path, function)), fails)
        with pytest.raises(ConfigError, match=os.strerror(number)):
            session.save(target)
    assert path.read_text() == "not: a config"
    assert session.config_path == path
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.freeze.yaml", "model.safetensors"]


def test_a_device_gets_a_copy_and_the_session_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    session = Session(Options(str(checkpoint)))
    session.plan.replace(b"\0")
    (tmp_path / "null.yaml").symlink_to("/dev/null")
    session.save(tmp_path / "null.yaml")
    assert session.unsaved
    assert session.config_path == tmp_path / "model.freeze.yaml"
