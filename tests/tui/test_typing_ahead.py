"""Keys typed before a dialog was on the screen do not answer it."""

from __future__ import annotations

from textual import events

from freezetui.tui.screens.prompt import PromptScreen


def typed(driver, *keys: str) -> list[events.Key]:
    """Return keys as one read from the terminal yields them: all at the same time."""
    return [events.Key(key, "\r" if key == "enter" else key if len(key) == 1 else None) for key in keys]


async def send(driver, keys: list[events.Key]) -> None:
    for key in keys:
        driver.app.post_message(key)
        await driver.pilot.pause(0.05)


async def test_a_burst_reaches_no_question_that_was_not_on_the_screen(opened):
    async with opened() as driver:
        await driver.press("j", "f")
        await send(driver, typed(driver, "plus", "enter", "x"))
        assert isinstance(driver.app.screen, PromptScreen) and not driver.session.stages.names
        await driver.press("enter")
        assert driver.session.stages.names == ("classifier",)
        await driver.press("equals_sign")
        await send(driver, typed(driver, "d", "y"))
        assert driver.session.stages.names == ("classifier",)
        await driver.press("y")
        assert driver.session.stages.names == ()
        assert driver.state("features") == "frozen"
