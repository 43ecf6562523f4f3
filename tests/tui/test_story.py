"""The story of the README's minute, by keys that stand on the screen: at most 10 of them."""

from __future__ import annotations

import pytest

from freezetui.config.codec import read_config
from freezetui.freeze.rules import Rule
from freezetui.tui.screens.copy import CopyScreen


@pytest.mark.torch
@pytest.mark.slow
async def test_freeze_the_features_prove_it_add_a_stage_save_and_copy(opened, sample, forked):
    path = sample("vgg_digits.pth")
    pressed: list[str] = []
    async with opened(path, device="cpu", size=(100, 30)) as driver:

        async def press(key: str, named: str) -> None:
            """Press a key that the screen names."""
            assert named in " ".join(driver.screen_text().split()), f"{key}: no {named!r} on the screen"
            pressed.append(key)
            await driver.press(key)

        await press("down", "features")
        await press("f", "f freeze")
        assert driver.state("features") == "frozen" and driver.state("classifier") == "trainable"
        await press("r", "r check")
        await driver.until(lambda: driver.session.report is not None and not driver.main._panel.running)
        await driver.until(lambda: "HELD: 26 frozen tensors unchanged, bit for bit" in driver.screen_text())
        await press("plus", "+ stage")
        await press("enter", "Enter: accept")
        await press("plus", "1 classifier ✓")
        await press("enter", '"everything" trains the whole model')
        assert driver.session.totals.frozen.tensors == 0
        await press("s", "s save")
        await driver.until(lambda: not driver.session.unsaved)
        await press("y", "y code")
        await driver.until(lambda: isinstance(driver.app.screen, CopyScreen))
        await press("right", "← →: what to copy")
        assert "stage in ['classifier', 'everything']" in driver.app.clipboard
    assert len(pressed) <= 10
    config = read_config(path.with_name("vgg_digits.freeze.yaml"))
    assert config.rules == (Rule("freeze", "features"),)
    assert [(s.name, s.rules) for s in config.stages] == [
        ("classifier", ()),
        ("everything", (Rule("train", "**"),)),
    ]
