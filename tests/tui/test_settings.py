"""What no line of the tree shows: another state_dict of the file, and the statistics of frozen norms."""

from __future__ import annotations

import pytest

from freezetui.config.codec import read_config


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
    async with opened(path) as driver:
        await driver.press("exclamation_mark")
        assert "norm_statistics: freeze" in driver.screen_text()
        await driver.press("escape", "B")
        assert "norm_statistics: update" in driver.notices() and driver.session.unsaved
        await driver.press("d")
        assert "freeze → update" in driver.screen_text()
        await driver.press("escape", "s")
        await driver.until(lambda: not driver.session.unsaved, 10)
        assert read_config(driver.session.config_path).norm_statistics == "update"
