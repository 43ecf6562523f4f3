"""What stands on the screen, to the letter, at the sizes people have.

After a change that is meant, run this file with FREEZETUI_NEW_SCREENS=1 and look at the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

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
        await driver.press("x", "v")
        await driver.until(lambda: "norms of rows" in driver.screen_text())
        driver.app.clear_notifications()
        await driver.pilot.pause()
        check(driver.screen_text(), "against_120x30")
