"""What stands on the screen, to the letter, at the sizes people have.

After a change that is meant, run this file with FREEZETUI_NEW_SCREENS=1 and look at the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from freezetui.sanity.report import Cost, FrozenPart, TrainablePart
from support.reports import sanity_report

SCREENS = Path(__file__).with_name("screens")


def check(screen: str, name: str) -> None:
    """Compare with the screen that is on file."""
    screen = "\n".join(line.rstrip() for line in screen.splitlines()) + "\n"
    expected = SCREENS / f"{name}.txt"
    if os.environ.get("FREEZETUI_NEW_SCREENS"):
        expected.write_text(screen, "utf-8")
    assert screen == expected.read_text("utf-8")


@pytest.mark.parametrize("size", [(60, 15), (100, 24), (200, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_half_frozen(opened, size):
    async with opened("vgg_digits.pth", size=size) as driver:
        driver.go("features")
        await driver.press("f")
        driver.app.clear_notifications()
        await driver.pilot.pause()
        check(driver.screen_text(), f"half_frozen_{size[0]}x{size[1]}")


async def test_against_with_values(opened, sample, tmp_path, monkeypatch):
    state = torch.load(sample("vgg_digits.pth"))
    state["features.0.weight"] = state["features.0.weight"] * 0.99
    state["classifier.6.bias"] = state["classifier.6.bias"] + 0.5
    torch.save(state, tmp_path / "after.pth")
    (tmp_path / "after.freeze.yaml").write_text("freezetui: 1\nrules:\n  - freeze: features\n")
    monkeypatch.chdir(tmp_path)
    async with opened(Path("after.pth"), size=(120, 30), against="vgg_digits.pth") as driver:
        await driver.until(lambda: driver.session.comparison is not None)
        await driver.press("x", "V")
        await driver.until(lambda: "norms of rows" in driver.screen_text())
        driver.app.clear_notifications()
        await driver.pilot.pause()
        check(driver.screen_text(), "against_120x30")


async def test_the_cost_is_told_on_a_key_and_with_what_was_measured(opened):
    async with opened("vgg_digits.pth", size=(100, 30)) as driver:
        driver.go("features")
        await driver.press("f")
        assert "memory with AdamW 4.2 MiB of 6.0 MiB" in driver.screen_text()
        await driver.press("dollar_sign")
        text = driver.screen_text()
        assert "this plan" in text and "all trained" in text and "Press r to measure" in text
        assert "Activations are not counted" in text
        await driver.press("escape")
        cost = Cost(0.25, 1.5, 3 * 2**20, 7 * 2**20)
        report = sanity_report(
            architecture="x",
            steps=1,
            frozen=FrozenPart(26, 26),
            cost=cost,
            trainable=TrainablePart(6, 6),
        )
        driver.session.checked(report, driver.session.plan.mask())
        await driver.press("dollar_sign")
        text = driver.screen_text()
        assert "Measured by the last check" in text and "0.25 s" in text and "7.0 MiB" in text


@pytest.mark.parametrize("size", [(80, 24), (160, 40)])
async def test_the_memory_of_an_adapter_is_said_to_be_without_its_base_model(opened, tmp_path, size):
    prefix = "base_model.model.model.layers"
    parts = {f"{prefix}.{n}.q_proj.lora_{x}.weight": torch.zeros(4, 8) for n in range(3) for x in "AB"}
    torch.save(parts, tmp_path / "adapter.pth")
    async with opened(tmp_path / "adapter.pth", size) as driver:
        text = driver.screen_text()
        assert "memory with AdamW 3.0 KiB of 3.0 KiB + base model" in text and "not checked" in text
        await driver.press("dollar_sign")
        assert "base model's weights are not counted" in driver.screen_text()
