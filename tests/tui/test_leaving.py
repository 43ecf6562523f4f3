"""What is asked before the program ends or another key is opened, so that neither plan nor proof is lost."""

from __future__ import annotations

import pytest

from freezetui.config.codec import read_config
from freezetui.tui.widgets.drawing import whole_words
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
        await driver.until(lambda: "open model_ema without saving" in text_of(driver))
        text = text_of(driver)
        assert "save and open model_ema" in text
        assert "and quit" not in text and "quit without" not in text
        await driver.press("escape", "q")
        await driver.until(lambda: "x quit without saving" in text_of(driver))


async def freeze_and_check(driver) -> None:
    await driver.press("down", "f")
    driver.session.checked(sanity_report(), driver.session.plan.mask())


async def test_a_proof_is_saved_with_the_plan_on_quitting(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path, size=(60, 15)) as driver:
        await freeze_and_check(driver)
        await driver.press("q")
        await driver.until(lambda: "s save both and quit" in text_of(driver))
        await driver.press("s")
        await driver.until(lambda: not driver.app.is_running)
    async with opened(path) as driver:
        await driver.until(lambda: driver.session.report is not None)
        assert not driver.session.report_is_stale and driver.session.checks.when(None)


async def test_the_program_goes_on_where_the_receipt_could_not_be_saved(opened, sample):
    path = sample("vgg_digits.pth")
    path.with_name("vgg_digits.receipt.txt").mkdir()
    async with opened(path) as driver:
        await freeze_and_check(driver)
        await driver.press("q")
        await driver.until(lambda: "s save both and quit" in text_of(driver))
        await driver.press("s")
        await driver.until(lambda: "is a directory" in driver.app.said[-1])
        assert driver.app.is_running and not driver.session.unsaved
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running)


async def test_saving_says_that_the_receipt_is_apart(opened, sample):
    async with opened(sample("vgg_digits.pth")) as driver:
        await freeze_and_check(driver)
        await driver.press("s")
        await driver.until(lambda: not driver.session.unsaved)
        assert "; R, then the last line: save the receipt of the check" in driver.app.said[-1]
        await driver.press("plus", "enter", "plus", "enter", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert driver.session.stages.shown == "everything"
        assert "; in stage classifier R, then the last line" in driver.app.said[-1]


async def test_a_check_that_is_not_of_what_is_open_is_not_offered(opened, sample):
    async with opened(sample("vgg_digits.pth")) as driver:
        session = driver.session
        session.checked(sanity_report(verdict="inconclusive"), session.plan.mask())
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running)


async def test_saving_says_what_every_stage_freezes(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path, size=(60, 15)) as driver:
        await driver.press("down", "f", "plus", "enter", "plus", "enter", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert "classifier freezes 26, everything freezes 0 of 32 tensors" in driver.notices()
        assert "y →: the lines" in whole_words(driver.notices(), 58), "which is what a small screen shows"
    assert len(read_config(path.with_name("vgg_digits.freeze.yaml")).stages) == 2
