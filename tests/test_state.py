"""The log of unexpected errors: for this user only, bounded, and never a reason to fail."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from freezetui.state import log_error, state_directory


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_the_log_is_for_this_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "freezetui").mkdir(mode=0o755)
    path = log_error(raised("boom"), "saving")
    assert path == tmp_path / "freezetui" / "errors.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert " saving\nTraceback" in text
    assert "ValueError: boom" in text


def test_without_a_usable_variable_it_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_directory() == tmp_path / ".local" / "state" / "freezetui"


def test_the_log_stays_small_and_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for number in range(60):
        path = log_error(raised(f"number {number}. " + "x" * 2**15), "testing")
        assert path is not None
        assert path.stat().st_size <= 2**18
    text = path.read_text()
    assert "number 59." in text
    assert "number 58." in text
    assert "number 0." not in text


def test_what_the_error_says_cannot_steer_a_terminal_or_tell_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = log_error(raised("\x1b]0;owned\x07\x9b31m\u202e at https://me:secret@host/x"), "\x1b[2J\nreading")
    assert path is not None
    text = path.read_text()
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert r"\x1b]0;owned" in text
    assert "secret" not in text
    assert "https://host/x" in text


def test_a_directory_that_cannot_be_written_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for odd in (tmp_path / "file", "/proc/nothing", "/" + "x" * 300, "/dev/null"):
        monkeypatch.setenv("XDG_STATE_HOME", str(odd))
        assert log_error(raised("boom"), "testing") is None


def test_a_link_or_a_fifo_in_place_of_the_log_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory, target = state_directory(), tmp_path / "target"
    assert directory is not None
    target.write_text("mine")
    log = directory / "errors.log"
    log.symlink_to(target)
    assert log_error(raised("boom"), "testing") is None
    assert target.read_text() == "mine"
    log.unlink()
    os.mkfifo(log)
    assert log_error(raised("boom"), "testing") is None
