"""The pane with the text of the config, which follows every edit."""

from __future__ import annotations

import threading

import pytest
import torch

from freezetui.tui import saving

SIZES = [(60, 15), (80, 24), (130, 30), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_config_as_saving_would_write_it_follows_every_edit(opened, sample, size):
    path = sample("vgg_digits.pth")
    config = path.with_name("vgg_digits.freeze.yaml")
    config.write_text("freezetui: 1\nrules:\n  - freeze: features  # mine\n")
    async with opened(path, size=size) as driver:
        before = driver.tree.region
        await driver.press("D")
        await driver.until(lambda: shown(driver))
        await driver.until(lambda: "rules:" in driver.screen_text(), 5)
        assert driver.tree.has_focus and driver.tree.region.height >= 3
        assert "- freeze: features  # mine" in shown(driver) and "classifier" not in shown(driver)
        driver.go("classifier.0")
        await driver.press("f")
        await driver.until(lambda: "- freeze: classifier.0" in shown(driver))
        assert "- freeze: classifier.0" in driver.screen_text()
        await driver.press("u")
        await driver.until(lambda: "classifier.0" not in shown(driver))
        await driver.press("plus", "enter")
        await driver.press("f")
        await driver.until(lambda: "stages:" in shown(driver) and "- freeze: classifier.0" in shown(driver))
        assert "- freeze: features  # mine" in shown(driver)
        text = shown(driver)
        pane = driver.main.query_one("#config")
        await driver.press("tab")
        assert pane.has_focus
        await driver.press("G", "R", "tab")  # the findings come first, if they are shown
        assert not pane.has_focus
        await driver.press("R")
        if not driver.main.shows_config:  # there was room for one of them only
            await driver.press("D")
        await driver.press("escape")
        assert driver.tree.region == before and "as it would be written" not in driver.screen_text()
        await driver.press("D", "D", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert driver.tree.region == before
    assert config.read_text() == text


async def test_the_config_of_many_tensors_is_written_in_a_thread_only_while_it_is_shown(
    opened, tmp_path, monkeypatch
):
    made = []
    real = saving.config_text
    monkeypatch.setattr(saving, "config_text", lambda session: counted(session, real, made))
    tensors = {f"b.{i}.{n}": torch.zeros(1) for i in range(600) for n in ("weight", "bias")}
    torch.save(tensors, tmp_path / "many.pth")
    async with opened(tmp_path / "many.pth") as driver:
        await driver.press("j", "f", "u")
        assert not made
        await driver.press("D")
        await driver.until(lambda: shown(driver))
        assert "frozen: {tensors: 0," in shown(driver)
        await driver.press("f", "u", "f")
        await driver.until(lambda: "frozen: {tensors: 1200," in shown(driver))
        assert 2 <= len(made) <= 4 and all(name != "MainThread" for name in made)
        await driver.press("D", "u")
        await driver.pilot.pause(0.4)
        assert len(made) <= 4


def shown(driver) -> str:
    """Return the text of the pane, as it would be written."""
    found = driver.main.query("#config-text")
    return f"{found.first().content}\n" if found and str(found.first().content) else ""


def counted(session, real, made):
    make = real(session)

    def text():
        made.append(threading.current_thread().name)
        return make()

    return text
