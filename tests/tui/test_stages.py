"""Stages in the TUI: the origin story in a handful of keys."""

from __future__ import annotations

import shutil
from pathlib import Path

from textual.pilot import Pilot

from freezetui.config.codec import read_config
from freezetui.freeze.rules import Rule
from freezetui.session.session import Options
from freezetui.tui.app import FreezeTuiApp

SAMPLE = Path(__file__).resolve().parents[2] / "sample_ckpts" / "vgg_digits.pth"


async def typed(pilot: Pilot, text: str) -> None:
    await pilot.press(*text)


async def test_classifier_first_then_everything(tmp_path: Path) -> None:
    path = tmp_path / "vgg_digits.pth"
    shutil.copy(SAMPLE, path)
    app = FreezeTuiApp(Options(str(path)))
    async with app.run_test(size=(110, 30)) as pilot:
        await pilot.pause()
        await pilot.press("right_square_bracket")  # no stages yet: said, and nothing breaks
        await pilot.press("j", "f", "plus")
        await typed(pilot, "classifier")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("plus")
        await typed(pilot, "everything")
        await pilot.press("enter")
        await pilot.pause()
        assert app.main_screen is not None
        session = app.main_screen.session
        assert session.stages.names == ("classifier", "everything")
        await pilot.press("k", "t")
        assert session.totals.frozen.tensors == 0
        assert "everything" in str(app.main_screen.query_one("#header").render())
        await pilot.press("left_square_bracket")
        assert session.stages.shown == "classifier" and session.totals.frozen.tensors == 26
        await pilot.press("s")
        await pilot.pause()
        await app.workers.wait_for_complete()
    config = read_config(path.with_name("vgg_digits.freeze.yaml"))
    assert config.rules == (Rule("freeze", "features"),)
    assert [(stage.name, stage.rules) for stage in config.stages] == [
        ("classifier", ()),
        ("everything", (Rule("train", "**"),)),
    ]


async def test_a_key_in_one_stage_leaves_the_rest_of_the_config_alone(tmp_path: Path) -> None:
    path = tmp_path / "vgg_digits.pth"
    shutil.copy(SAMPLE, path)
    config_path = path.with_name("vgg_digits.freeze.yaml")
    config_path.write_text(
        "freezetui: 1\nrules:\n  - freeze: features\nstages:\n  - {name: classifier}\n"
        "  - name: everything\n    rules:\n      - train: '**'\n"
    )
    app = FreezeTuiApp(Options(str(path)))
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.pause()
        assert app.main_screen is not None and app.main_screen.session.stages.shown == "classifier"
        await pilot.press("a", "s")
        await pilot.pause()
        await app.workers.wait_for_complete()
    config = read_config(config_path)
    assert config.rules == (Rule("freeze", "features"),)
    assert config.stage("classifier").rules == (Rule("freeze", "**"),)
    assert config.stage("everything").rules == (Rule("train", "**"),)
