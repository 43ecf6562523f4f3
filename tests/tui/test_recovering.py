"""A choice that was not saved is offered again, unless it was given up; dangerous answers are not first."""

from __future__ import annotations

from pathlib import Path


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state" / "freezetui" / "recovery").glob("*.json"))


async def test_what_was_unsaved_when_the_app_ended_unasked_is_offered_at_the_next_start(
    opened, sample, tmp_path
):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f")
    assert len(kept(tmp_path)) == 1
    async with opened(path) as driver:
        await driver.until(lambda: "Restore an unsaved plan?" in driver.screen_text(), 10)
        await driver.press("r")
        await driver.until(lambda: driver.state("features") == "frozen", 5)
        assert driver.session.unsaved
        await driver.press("s")
        await driver.until(lambda: not driver.session.unsaved and not kept(tmp_path), 10)
    async with opened(path) as driver:
        await driver.pilot.pause(0.6)
        assert "Restore" not in driver.screen_text()


async def test_an_offer_can_wait_and_can_be_discarded(opened, sample, tmp_path):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        await driver.press("a")
    for key, left in (("escape", 1), ("delete", 0)):
        async with opened(path) as driver:
            await driver.until(lambda d=driver: "Restore an unsaved plan?" in d.screen_text(), 10)
            await driver.press(key)
            await driver.until(lambda n=left: len(kept(tmp_path)) == n, 5)
            assert not driver.session.unsaved


async def test_quitting_without_saving_is_said_on_purpose_and_leaves_nothing(opened, tmp_path):
    async with opened() as driver:
        await driver.press("a", "q", "q", "enter")
        assert driver.app.is_running and driver.session.unsaved
        await driver.press("q")
        assert "Unsaved changes" in driver.screen_text()
        await driver.until(lambda: kept(tmp_path), 5)
        await driver.press("x")
        await driver.until(lambda: not driver.app.is_running, 5)
    assert kept(tmp_path) == []


async def test_enter_agrees_to_nothing_dangerous(opened, sample, tmp_path):
    path = sample("vgg_digits.pth")
    config = path.with_name("vgg_digits.freeze.yaml")
    config.write_text(
        "freezetui: 1\nmodel: {architecture: 'factory.py:build'}\nrules:\n  - freeze: features\n"
    )
    async with opened(path) as driver:
        await driver.press("r")
        assert "import and run" in driver.screen_text()
        await driver.press("enter")
        await driver.pilot.pause()
        assert not driver.session.architecture.trusted and not driver.main._panel.running
        config.write_text(config.read_text() + "# mine\n")
        await driver.press("a", "s")
        await driver.until(lambda: "Overwrite" in driver.screen_text(), 5)
        await driver.press("enter")
        await driver.pilot.pause()
        assert "# mine" in config.read_text() and driver.session.unsaved
