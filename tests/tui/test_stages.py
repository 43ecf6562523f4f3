"""Stages in the TUI: the origin story in a handful of keys."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from textual.pilot import Pilot
from textual.screen import ModalScreen

from freezetui.config.codec import read_config
from freezetui.freeze.rules import Rule
from freezetui.session.options import Options
from freezetui.tui.app import FreezeTuiApp
from support.reports import sanity_report

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
        assert session.totals.frozen.tensors == 0, "it does what it says"
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


async def test_undo_goes_on_through_a_new_stage(opened, sample):
    async with opened(sample("vgg_digits.pth")) as driver:
        await driver.press("down", "f", "plus", "enter", "plus", "enter")
        assert driver.session.stages.names == ("classifier", "everything")
        assert driver.session.totals.frozen.tensors == 0
        await driver.press("u")
        assert "undo: the new stage everything" in driver.notices()
        assert driver.session.stages.names == ("classifier",) and driver.state("features") == "frozen"
        await driver.press("u")
        assert not driver.session.stages.names and driver.state("features") == "frozen"
        await driver.press("u")
        assert driver.state("features") == "trainable" and not driver.session.unsaved
        await driver.press("ctrl+r", "ctrl+r", "ctrl+r")
        assert driver.session.stages.names == ("classifier", "everything")
        assert driver.session.totals.frozen.tensors == 0 and driver.session.unsaved


async def test_the_name_of_a_new_stage_says_how_it_begins(opened, sample):
    async with opened(sample("vgg_digits.pth"), size=(60, 15)) as driver:
        await driver.press("down", "f", "plus")
        assert '"everything" trains the whole model' in driver.screen_text()
        await driver.press("enter", "up", "f", "plus")
        shown = " ".join(re.findall(r"[\w;]+", driver.screen_text()))
        assert "any other name starts like the stage that is shown" in shown
        await driver.press(*["backspace"] * 10, *"warm", "enter")
        assert driver.session.totals.trainable.tensors == 0, "like the shown stage, not the common rules"


async def test_a_check_counts_for_a_stage_with_the_same_flags(opened, sample):
    async with opened(sample("vgg_digits.pth"), size=(100, 30)) as driver:
        await driver.press("down", "f")
        session = driver.session
        session.checked(sanity_report(), session.plan.mask())
        await driver.press("plus", "enter")
        assert session.report is not None and session.report.stage == "classifier"
        assert not session.report_is_stale and "1 classifier ✓" in driver.screen_text()
        await driver.press("plus", "enter")
        assert session.report is None and "2 everything ✓" not in driver.screen_text()
        await driver.press("left_square_bracket", "t")
        assert session.report is None, "nothing that was not checked counts"
        await driver.press("u")
        assert session.report is not None and not session.report_is_stale
        session.stages.set(norm_statistics="update")
        assert session.report is None, "other settings were not checked"


async def test_the_common_rules_are_a_tab_and_stages_follow_them(opened, sample):
    path = sample("vgg_digits.pth")
    config = path.with_name("vgg_digits.freeze.yaml")
    config.write_text(
        "freezetui: 1\nrules:\n  - freeze: features\nstages:\n  - {name: head}\n"
        "  - name: all\n    rules:\n      - train: '**'\n"
    )
    async with opened(path, size=(100, 30)) as driver:
        stages = driver.session.stages
        assert stages.shown == "head" and " common  1 head  2 all " in driver.screen_text()
        driver.go("classifier.0")
        await driver.press("left_square_bracket")
        assert stages.shown is None
        await driver.press("f")
        assert driver.state("classifier.0") == "frozen"
        assert "head: not checked, all: not checked" in driver.screen_text()
        await driver.press("right_square_bracket")
        assert stages.shown == "head" and driver.state("classifier.0") == "frozen"
        await driver.press("right_square_bracket")
        assert stages.shown == "all" and driver.state("classifier.0") == "trainable"
        driver.go("features.0")
        await driver.press("f", "right_square_bracket")  # an own rule of the last stage
        assert stages.shown is None and driver.state("features.0") == "frozen"
        driver.go("classifier.0")
        await driver.press("u")
        assert driver.state("classifier.0") == "trainable"
        await driver.press("right_square_bracket")
        assert driver.state("classifier.0") == "trainable"
        await driver.press("left_square_bracket", "f", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert driver.session.stages.plan_of("all").totals().frozen.tensors == 2
    written = read_config(config)
    assert written.rules == (Rule("freeze", "features"), Rule("freeze", "classifier.0"))
    assert [(stage.name, stage.rules) for stage in written.stages] == [
        ("head", ()),
        ("all", (Rule("train", "**"), Rule("freeze", "features.0"))),
    ]


async def test_a_check_of_the_common_rules_is_that_of_the_stages(opened):
    async with opened(size=(60, 15)) as driver:
        await driver.press("down", "f", "plus", "enter", "plus", "enter")
        await driver.press("left_square_bracket", "left_square_bracket")
        stages = driver.session.stages
        assert stages.shown is None and "common" in driver.screen_text()
        for stage, verdict in zip(stages.names, ("held", "moved"), strict=True):
            report = sanity_report(stage=stage, verdict=verdict)
            driver.session.checked(report, stages.plan_of(stage).mask())
            driver.main.refresh_session()
            await driver.pilot.pause()
            assert ("✗ moved" if verdict == "moved" else "not checked") in driver.screen_text()
        await driver.press("R")
        assert "checked as part of each stage" in driver.screen_text()


async def test_the_one_dialog_does_everything_by_keyboard_at_60_by_15(opened):
    async with opened(size=(60, 15)) as driver:
        stages = driver.session.stages

        async def press(*keys: str) -> str:
            for key in keys:
                await driver.press(key)
                await driver.until(lambda: isinstance(driver.app.screen, ModalScreen), 5)
            await driver.pilot.pause(0.05)
            text = driver.screen_text()
            assert len(text.splitlines()) == 15
            return text

        assert "No stages yet" in await press("equals_sign")
        await press("n", *"ab", "enter")
        assert "common to all" in driver.screen_text() and len(stages.names) == 1
        await press("n", *"cd", "enter")
        first, second = stages.names
        shown = await press("e", "3", "enter")
        assert stages.sections[second].epochs == 3 and "3 epochs" in shown
        await press("l", "backspace", *"0.1", "enter")
        assert stages.sections[second].lr_scale == 0.1 and "lr × 0.1" in driver.screen_text()
        await press("K")
        assert stages.names == (second, first)
        await press("J")
        assert stages.names == (first, second)
        await press("r", *"X", "enter")
        assert stages.names == (first, "X")
        assert " 2 X " in driver.screen_text().splitlines()[0], "the header follows"
        assert "undoes that" in await press("d")
        await press("enter")
        assert len(stages.names) == 2  # enter keeps it
        await press("d", "y")
        assert stages.names == (first,)
        assert "These rules are below" in await press("k", "d")
        assert stages.names == (first,)
        assert "n new" in await press("j", "k")
        await driver.press("enter")
        assert stages.shown is None and " common " in driver.screen_text()


async def test_undo_says_in_which_stage_there_is_something_to_undo(opened, sample):
    async with opened(sample("vgg_digits.pth")) as driver:
        await driver.press("down", "f", "plus", "enter", "plus", "enter", "left_square_bracket")
        assert driver.session.stages.shown == "classifier"
        names = driver.session.stages.names
        await driver.press("u")
        said = driver.notices().splitlines()[-1]
        assert driver.session.stages.names == names
        assert said.startswith("nothing to undo in classifier, but in ") and "everything" in said
