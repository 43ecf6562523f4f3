"""What is asked before the program ends or another key is opened, so that neither plan nor proof is lost."""

from __future__ import annotations

import pytest

from freezetui.config.codec import read_config
from support.reports import sanity_report


def text_of(driver) -> str:
    return " ".join(driver.screen_text().replace("│", " ").split())


@pytest.mark.torch
async def test_the_words_are_of_what_comes_next(opened, tmp_path):
    import torch

    path = tmp_path / "two.pth"
    state = {f"{i}.weight": torch.zeros(2, 2) for i in range(3)}
    torch.save({"model": state, "model_ema": dict(state)}, path)
    async with opened(path) as driver:
        await driver.press("f", "K", "2")
        await driver.pilot.pause(0.1)
        text = text_of(driver)
        assert "save and open model_ema" in text and "open model_ema without saving" in text
        assert "and quit" not in text and "quit without" not in text
        await driver.press("escape", "q")
        await driver.pilot.pause(0.1)
        assert "x quit without saving" in text_of(driver)


async def test_a_proof_is_not_lost_by_quitting(opened, sample):
    path = sample("vgg_digits.pth")
    receipt = path.with_name("vgg_digits.receipt.txt")
    async with opened(path, size=(60, 15)) as driver:
        session = driver.session
        await driver.press("down", "f")
        session.checked(sanity_report(), session.plan.mask())
        await driver.press("q")
        await driver.pilot.pause(0.1)
        assert "s save both and quit" in text_of(driver)
        await driver.press("escape", "s")
        await driver.until(lambda: not session.unsaved)
        assert "The proof is not in it" in driver.notices()
        await driver.press("q")
        await driver.pilot.pause(0.1)
        text = text_of(driver)
        assert "Unsaved receipt" in text and receipt.name in text and "x quit without it" in text
        receipt.mkdir()
        await driver.press("s")
        await driver.until(lambda: "is a directory" in driver.notices())
        assert driver.app.is_running, "it does not end where the receipt could not be saved"
        receipt.rmdir()
        await driver.press("q")
        await driver.pilot.pause(0.1)
        await driver.press("s")
        await driver.until(lambda: driver.app.return_code is not None or not driver.app.is_running)
    async with opened(path) as driver:
        await driver.until(lambda: driver.session.report is not None)
        assert not driver.session.report_is_stale and driver.session.checks.when(None)
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running)


async def test_a_check_that_is_not_of_what_is_open_is_not_offered(opened, sample):
    async with opened(sample("vgg_digits.pth")) as driver:
        session = driver.session
        session.checked(sanity_report(verdict="inconclusive"), session.plan.mask())
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running)


async def test_saving_says_what_every_stage_freezes(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        await driver.press("down", "f", "plus", "enter", "plus", "enter", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert "classifier freezes 26, everything freezes 0 of 32 tensors" in driver.notices()
    assert len(read_config(path.with_name("vgg_digits.freeze.yaml")).stages) == 2
