"""Without a path: recent checkpoints and those below the directory, opened by enter."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from freezetui.cli.main import main
from freezetui.session.options import Options
from freezetui.session.recent import checkpoints_below, note_opened, recent
from freezetui.tui.app import FreezeTuiApp

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """A directory with checkpoints, and much that is none."""
    root = tmp_path / "project"
    for name in ("runs/1", ".hidden", "venv/lib", "hf"):
        (root / name).mkdir(parents=True)
    (root / "venv" / "pyvenv.cfg").touch()
    shutil.copy(SAMPLES / "vgg_digits.pth", root / "runs" / "1" / "vgg.pth")
    for name in (".hidden/a.pth", "venv/lib/b.pth", "notes.txt", "hf/model-00001-of-00002.safetensors"):
        (root / name).write_bytes(b"x")
    (root / "hf" / "model.safetensors.index.json").write_text("{}")
    os.utime(root / "hf" / "model-00001-of-00002.safetensors", (10, 10))
    (root / "loop").symlink_to(root)
    return root


def test_what_lies_below_is_found_once_and_shards_are_one(below: Path) -> None:
    found = [Path(each.path).relative_to(below).as_posix() for each in checkpoints_below(str(below))]
    assert found == ["runs/1/vgg.pth", "hf"]


def test_recent_ones_are_the_newest_first_and_still_there(tmp_path: Path, monkeypatch) -> None:
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).touch()
        note_opened(Options(str(tmp_path / name)))
    note_opened(Options("https://user:secret@host/model.pth?token=1"))
    note_opened(Options(str(tmp_path / "a.pth")))
    (tmp_path / "b.pth").unlink()
    assert [each.source for each in recent()] == [str(tmp_path / "a.pth"), "https://host/model.pth"]
    (path,) = (tmp_path / "state").rglob("recent.json")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-3])
    assert recent() == []
    monkeypatch.setenv("FREEZETUI_STATE", "0")
    note_opened(Options(str(tmp_path / "a.pth")))
    monkeypatch.delenv("FREEZETUI_STATE")
    assert recent() == []


async def test_enter_opens_the_one_that_is_chosen(below: Path, monkeypatch) -> None:
    monkeypatch.chdir(below)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(80, 24)) as pilot:
        text = ""
        for _ in range(100):
            await pilot.pause(0.05)
            text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
            if "vgg.pth" in text:
                break
        assert "below this directory" in text and "1.5 MiB" in text and "Enter open" in text
        await pilot.press("j", "k", "enter")
        for _ in range(100):
            await pilot.pause(0.05)
            if app.main_screen is not None:
                break
        assert app.main_screen is not None and app.screen is app.main_screen
        assert app.main_screen.session.options.source.endswith("vgg.pth")
        await pilot.press("f")
        assert app.main_screen.session.totals.trainable.tensors == 0


async def test_where_nothing_is_the_screen_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause(0.3)
        assert "none was found below" in app.screen._compositor.render_strips()[0].text
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


def test_without_a_terminal_the_help_is_shown() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2 and "Examples:" in result.output
    assert CliRunner().invoke(main, ["open"]).exit_code == 2
