"""What no line of the tree shows: another state_dict of the file, and the statistics of frozen norms."""

from __future__ import annotations

import pytest

from freezetui.config.codec import read_config
from freezetui.tui.problems import notices_text


@pytest.mark.torch
async def test_the_ema_copy_is_chosen_inside_and_unsaved_work_is_asked_about(opened, tmp_path):
    import torch

    weights = {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(3)}
    torch.save({"model": weights, "model_ema": {**weights, "c.weight": torch.ones(1)}}, tmp_path / "both.pt")
    async with opened(tmp_path / "both.pt") as driver:
        before = driver.main
        assert len(driver.session.tree.tensors) == 2
        await driver.press("a", "K")
        assert "model_ema" in driver.screen_text()
        await driver.press("2")
        await driver.until(lambda: "Unsaved changes" in driver.screen_text(), 5)
        await driver.press("escape")
        await driver.pilot.pause()
        assert driver.main is before and driver.session.unsaved
        await driver.press("K", "2")
        await driver.until(lambda: "Unsaved changes" in driver.screen_text(), 5)
        await driver.press("x")
        await driver.until(lambda: driver.main is not before, 10)
        await driver.pilot.pause()
        assert driver.app.screen is driver.main
        assert len(driver.session.tree.tensors) == 3
        await driver.press("a")
        assert driver.session.totals.trainable.tensors == 0


async def test_norm_statistics_are_seen_changed_and_saved(opened, sample):
    path = sample("shufflenet_digits.safetensors")
    async with opened(path, size=(170, 40)) as driver:
        await driver.press("exclamation_mark")
        assert "norm_statistics: freeze" in driver.screen_text()
        await driver.press("escape", "B")
        assert "norm_statistics: update" in driver.notices() and driver.session.unsaved
        assert "norms update" in driver.screen_text()
        statistic = next(t.name for t in driver.session.tree.tensors if t.is_statistic)
        driver.go(statistic)
        await driver.pilot.pause()
        assert "statistics of frozen norms change" in str(driver.main.query_one("#details-text").render())
        await driver.press("d")
        assert "freeze → update" in driver.screen_text()
        await driver.press("escape", "s")
        await driver.until(lambda: not driver.session.unsaved, 10)
        assert read_config(driver.session.config_path).norm_statistics == "update"


async def test_frozen_modules_have_a_key_that_can_be_undone_and_is_saved(opened, sample):
    async with opened(sample("vgg_digits.pth"), size=(170, 40)) as driver:
        await driver.press("j", "f", "O")
        assert "frozen_modules: eval" in driver.notices() and driver.session.unsaved
        await driver.press("B", "D")
        await driver.until(lambda: "frozen_modules: eval" in driver.screen_text(), 5)
        assert "norm_statistics: update" in driver.screen_text()
        await driver.press("d")
        assert "train → eval" in driver.screen_text()
        await driver.press("escape", "u")
        assert "undo: norm_statistics: freeze again" in driver.notices()
        assert driver.session.stages.settings == ("freeze", "eval")
        await driver.press("u")
        assert driver.session.stages.settings == ("freeze", "train")
        assert driver.state("features") == "frozen"
        await driver.press("ctrl+r", "s")
        await driver.until(lambda: not driver.session.unsaved, 10)
        assert read_config(driver.session.config_path).frozen_modules == "eval"
    async with opened(driver.session.config_path.with_name("vgg_digits.pth")) as again:
        assert again.session.stages.settings.frozen_modules == "eval" and not again.session.unsaved
        assert "frozen_modules: eval" in notices_text(again.session).plain


@pytest.mark.parametrize(
    ("name", "says"), [("vgg_digits.pth", True), ("shufflenet_digits.safetensors", False)]
)
async def test_norm_statistics_say_where_they_have_no_effect(opened, name, says):
    async with opened(name, size=(170, 40)) as driver:
        await driver.press("B")
        assert ("no effect here" in driver.notices()) is says
        assert ("no effect here" in notices_text(driver.session).plain) is says
        assert ("norms update" in driver.screen_text()) is not says


async def test_folds_the_cursor_and_filters_are_there_the_next_time(opened, sample, monkeypatch):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features.5.weight")
        lines = list(driver.tree.rows.visible)
        await driver.press("slash")
        await driver.type("bias")
        await driver.press("enter", "escape")
        driver.go("features.5.weight")
    async with opened(path) as driver:
        assert list(driver.tree.rows.visible) == lines
        assert driver.session.tree.path(driver.tree.node) == "features.5.weight"
        await driver.press("slash", "up")
        assert driver.app.focused.value == "bias"
    monkeypatch.setenv("FREEZETUI_STATE", "0")
    async with opened(path) as driver:
        assert driver.tree.cursor == 0 and list(driver.tree.rows.visible) != lines


async def test_the_theme_is_remembered(opened, sample, monkeypatch, tmp_path):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        usual = driver.app.theme
        driver.app.theme = "textual-light"
        await driver.pilot.pause()
    async with opened(path) as driver:
        assert driver.app.theme == "textual-light" != usual
        assert not driver.app.current_theme.dark and driver.app.has_class("-light-mode")
    kept = tmp_path / "state" / "freezetui" / "theme"
    assert kept.stat().st_mode & 0o777 == 0o600
    for content in (b"no such theme\n", b"\xff" * 100, b"x" * 10_000):
        kept.write_bytes(content)
        async with opened(path) as driver:
            assert driver.app.theme == usual
    kept.write_text("textual-light\n")
    monkeypatch.setenv("FREEZETUI_STATE", "0")
    async with opened(path) as driver:
        assert driver.app.theme == usual
        driver.app.theme = "nord"
        await driver.pilot.pause()
    assert kept.read_text() == "textual-light\n"


@pytest.mark.torch
async def test_which_state_dict_is_meant_is_on_the_screen_and_in_the_config(opened, tmp_path):
    import torch

    weights = {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(3)}
    path = tmp_path / "both.pt"
    torch.save({"model": weights, "model_ema": dict(weights), "optimizer": {"state": {}}}, path)
    async with opened(path, key="model_ema", size=(60, 15)) as driver:
        assert "both.pt [model_ema]" in driver.screen_text().splitlines()[0]
        assert "skipped optimizer: " in notices_text(driver.session).plain
        await driver.press("down", "f", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert driver.session.saved_here and "key: model_ema" in driver.session.config_path.read_text()
    async with opened(path, key="model") as driver:
        assert "both.pt [model]" in driver.screen_text().splitlines()[0]
        which = "it was saved for the state_dict model_ema; model is open"
        assert driver.session.differences == (which,)
        assert not driver.session.saved_here
        assert driver.state("a") == "frozen"
        said = notices_text(driver.session).plain
        assert f"{driver.session.config_path.name} does not fit what is open:\n  {which}" in said
        assert "The tree shows what its rules select here." in said
        await driver.press("s")
        assert "It does not fit what is open: it was saved for" in driver.screen_text()
        await driver.press("escape")
    async with opened(path, key="model_ema") as driver:
        assert driver.session.saved_here and not driver.session.differences
