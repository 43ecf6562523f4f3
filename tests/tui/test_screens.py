"""What stands on the screen, to the letter, at the sizes people have.

After a change that is meant, run this file with FREEZETUI_NEW_SCREENS=1 and look at the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SCREENS = Path(__file__).with_name("screens")


@pytest.mark.parametrize("size", [(60, 15), (100, 24), (200, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_half_frozen(opened, size):
    async with opened("vgg_digits.pth", size=size) as driver:
        driver.go("features")
        await driver.press("f")
        driver.app.clear_notifications()
        await driver.pilot.pause()
        screen = "\n".join(line.rstrip() for line in driver.screen_text().splitlines()) + "\n"
    expected = SCREENS / f"half_frozen_{size[0]}x{size[1]}.txt"
    if os.environ.get("FREEZETUI_NEW_SCREENS"):
        expected.write_text(screen, "utf-8")
    assert screen == expected.read_text("utf-8")
