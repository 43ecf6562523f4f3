"""The keys that copy: the plan as plain PyTorch code, the pattern of a line."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from freezetui.cli.export import export
from freezetui.tui.copying import line_pattern
from freezetui.tui.screens.copy import Copyable, CopyScreen
from freezetui.tui.screens.text_viewer import TextViewer


async def test_y_copies_the_code_of_the_plan_and_shows_it(opened):
    async with opened() as driver:
        driver.go("features.24")
        await driver.press("w", "y")
        await driver.until(lambda: isinstance(driver.app.screen, TextViewer))
        namespace: dict[str, Any] = {}
        exec(driver.app.clipboard, namespace)
        assert namespace["EXPECTED"] == driver.session.totals.frozen.elements
        for tensor, train in zip(driver.session.tree.tensors, driver.session.plan.mask(), strict=True):
            assert namespace["is_frozen"](tensor.name) != train
        assert "sent to the terminal's clipboard" in driver.screen_text()
        assert 'f"features.{i}."' in driver.screen_text()
        await driver.press("y")
        assert driver.app.screen is driver.main


async def test_y_copies_what_export_prints_for_all_stages(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        await driver.press("j", "f", "plus", "enter", "plus", "enter", "s", "y")
        await driver.until(lambda: isinstance(driver.app.screen, TextViewer))
        assert "Plain PyTorch for all stages" in driver.screen_text()
        copied = driver.app.clipboard
    config = path.with_name("vgg_digits.freeze.yaml")
    printed = CliRunner().invoke(export, [str(config), "--to", "python"]).stdout
    below = "\n\n# Segments"  # the heading has the path of the checkpoint
    assert copied.partition(below)[1:] == printed.partition(below)[1:]
    namespace: dict[str, Any] = {}
    exec(copied, namespace)
    assert namespace["EXPECTED"]["everything"] == 0 < namespace["EXPECTED"]["classifier"]


async def test_y_copies_what_export_prints_for_the_only_stage(opened, sample):
    path = sample("vgg_digits.pth")
    config = path.with_name("staged.freeze.yaml")
    config.write_text(
        "freezetui: 1\nmodel: {checkpoint: vgg_digits.pth}\nrules:\n  - freeze: features\n"
        "stages:\n  - {name: last, rules: [{train: 'features.28'}]}\n"
    )
    printed = CliRunner().invoke(export, [str(config), "--to", "python", "--stage", "last"])
    async with opened(path, config=config, stage="last") as driver:
        await driver.press("y")
        await driver.until(lambda: isinstance(driver.app.screen, TextViewer))
        copied = driver.app.clipboard.splitlines()
    assert copied[0] == "# Plain PyTorch for staged.freeze.yaml, stage last, written by freezetui."
    assert copied[2:] == printed.stdout.splitlines()[2:]
    assert 'f"features.{i}." for i in (0, 2,' in " ".join(printed.stdout.split())


@pytest.mark.parametrize(
    ("path", "pattern"), [("features", "features"), ("features.28.bias", "features.28.bias"), ("", "**")]
)
async def test_shift_y_copies_the_pattern_of_the_line(opened, path, pattern):
    async with opened() as driver:
        driver.go(path)
        await driver.press("Y")
        assert driver.app.clipboard == pattern
        assert f"sent to the terminal's clipboard: {pattern}" in driver.notices()
        assert "y shows it" in driver.notices() and "copied" not in driver.notices()


async def test_the_pattern_of_a_folded_family_is_that_of_all_its_blocks(opened):
    async with opened("tiny_transformer.pth") as driver:
        rows = driver.tree.rows
        node = next(n for n in rows.visible if rows.family(n))
        assert line_pattern(rows, node) == "layers.{0..5}"


async def test_what_else_can_be_copied_is_a_key_away(opened):
    async with opened() as driver:
        driver.go("features.24")
        await driver.press("w", "plus", "enter", "y")
        await driver.until(lambda: isinstance(driver.app.screen, TextViewer))
        await driver.press("right")
        lines = driver.app.clipboard
        assert "FreezeConfig.load('vgg_digits.freeze.yaml')" in lines and "stage=stage" in lines
        compile(lines, "script", "exec")
        assert "FreezeConfig.load" in driver.screen_text()
        await driver.press("l")
        assert driver.app.clipboard == "features.24"
        await driver.press("right", "right")
        assert "- train: features.{24..28}" in driver.app.clipboard
        await driver.press("right")
        assert "FROZEN" in driver.app.clipboard


async def test_in_tmux_it_is_said_what_must_be_set(opened, monkeypatch):
    needed = "set -g set-clipboard on"
    async with opened(size=(60, 15)) as driver:
        monkeypatch.delenv("TMUX", raising=False)
        await driver.press("Y")
        assert needed not in driver.notices()
        monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
        await driver.press("Y")
        assert needed in driver.notices()
        await driver.press("y")
        await driver.until(lambda: needed in driver.screen_text())


async def test_a_text_that_the_user_does_not_wait_for_is_not_copied(opened):
    answers = [None, "late"]

    async def make() -> str | None:
        return answers.pop(0)

    async with opened() as driver:
        await driver.app.push_screen(CopyScreen([Copyable("a", "A", "first"), Copyable("b", "B", make)]))
        await driver.press("right")
        assert driver.app.clipboard == "first"
        await driver.press("right")
        assert driver.app.clipboard == "late"
        await driver.press("left", "right")
        assert driver.app.clipboard == "late" and not answers


async def test_the_box_stays_where_it_is_and_its_title_ends_with_a_word(opened):
    async with opened(size=(80, 24)) as driver:
        await driver.press("y")
        boxes, titles = set(), []
        for _ in range(4):
            box = driver.app.screen.query_one(".dialog")
            boxes.add(box.region)
            titles.append(str(box.border_title))
            await driver.press("right")
        assert len(boxes) == 1 and len(set(titles)) > 1
        assert all(len(title) <= 70 and "sent" in title for title in titles)
