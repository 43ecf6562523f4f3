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


def text_of(app: FreezeTuiApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def until(pilot, condition) -> None:
    for _ in range(200):
        await pilot.pause(0.05)
        if condition():
            return
    raise AssertionError(text_of(pilot.app))


async def test_recent_ones_come_first_and_all_are_filtered_on_a_small_screen(
    below: Path, monkeypatch
) -> None:
    elsewhere = below.parent / "elsewhere"
    elsewhere.mkdir()
    for number in range(20):
        (elsewhere / f"{number}.pth").touch()
        note_opened(Options(str(elsewhere / f"{number}.pth")))
    note_opened(Options(str(below / "runs" / "1" / "vgg.pth")))
    monkeypatch.chdir(below)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(60, 15)) as pilot:
        text = text_of(app)
        assert "recent  (/ finds 17 more)" in text and "  runs/1/vgg.pth  opened now" in text
        assert text.index("vgg.pth") < text.index("elsewhere/19.pth"), "the newest comes first"
        listed = app.screen.query_one("OptionList")
        await until(pilot, lambda: listed.option_count > 5 and "looking" not in text_of(app))
        text = text_of(app)
        assert text.index("recent") < text.index("vgg.pth") < text.index("below this directory")
        assert text.count("vgg.pth") == 1 and "/ filter" in text
        assert listed.highlighted == 1, "what is found below moves nothing"
        await pilot.press("slash", *"where 1")
        await until(pilot, lambda: "vgg.pth" not in text_of(app))
        assert "/elsewhere/19.pth" in text_of(app) and "/elsewhere/2.pth" not in text_of(app)
        assert any(entry.source.endswith("/1.pth") for entry in app.screen._shown), "also what was not listed"
        assert "more)" not in text_of(app)
        await pilot.press(*"00", "enter")
        assert "nothing matches" in text_of(app) and not app.screen.query_one("#picker-problem").display
        await pilot.press("escape")
        await until(pilot, lambda: "vgg.pth" in text_of(app))
        await pilot.press("slash", *"vgg", "enter")
        await until(pilot, lambda: app.main_screen is not None)


async def test_a_recent_one_that_is_listed_is_not_listed_below_again(below: Path, monkeypatch) -> None:
    (below / "more").mkdir()
    for number in range(10):
        (below / "more" / f"{number}.pth").touch()
        note_opened(Options(str(below / "more" / f"{number}.pth")))
    (below / "bert").mkdir()
    (below / "bert" / "model.safetensors").touch()
    note_opened(Options(str(below / "bert")))
    monkeypatch.chdir(below)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(80, 30)) as pilot:
        await until(pilot, lambda: "below this directory" in text_of(app))
        assert "  bert  opened now" in text_of(app) and "bert/model" not in text_of(app)
        assert [text_of(app).count(f"more/{number}.pth") for number in range(10)] == [1] * 10
        await pilot.press("slash", *"more/1")
        await until(pilot, lambda: "more/2" not in text_of(app))
        assert text_of(app).count("more/1.pth") == 1 and "below this" not in text_of(app)


async def test_what_cannot_be_opened_is_told_above_the_list(below: Path, monkeypatch) -> None:
    (below / "empty.pth").touch()
    monkeypatch.chdir(below)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(60, 15)) as pilot:
        await until(pilot, lambda: "empty.pth" in text_of(app))
        await pilot.press("slash", *"empty", "enter")
        await until(pilot, lambda: "is empty" in " ".join(text_of(app).split()))
        assert app.is_running and app.failure is None and app.main_screen is None
        await pilot.press("escape", "slash", *"vgg", "enter")
        await until(pilot, lambda: app.main_screen is not None)


async def test_where_nothing_is_the_screen_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(60, 15)) as pilot:
        await until(pilot, lambda: "none was found below" in " ".join(text_of(app).split()))
        assert "freezetui PATH opens one; q quits" in " ".join(text_of(app).split())
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


def test_without_a_terminal_the_help_is_shown() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2 and "Examples:" in result.output
    assert CliRunner().invoke(main, ["open"]).exit_code == 2


async def test_the_heading_above_the_first_checkpoint_is_seen(below: Path, monkeypatch) -> None:
    for number in range(20):
        shutil.copy(SAMPLES / "vgg_digits.pth", below / f"{number}.pth")
    monkeypatch.chdir(below)
    app = FreezeTuiApp(Options(".", engine=False), choose=True)
    async with app.run_test(size=(60, 15)) as pilot:
        for _ in range(100):
            await pilot.pause(0.05)
            listed = app.screen.query_one("OptionList")
            if listed.option_count > 20:
                break
        await until(pilot, lambda: listed.max_scroll_y > 0)
        assert listed.scroll_offset.y == 0
        await pilot.press(*("down",) * 15)
        await pilot.pause()
        assert listed.scroll_offset.y > 0
        await pilot.press(*("up",) * 15)
        await pilot.pause()
        assert listed.scroll_offset.y == 0 and listed.highlighted == 1
