"""Keys typed before a dialog was on the screen do not answer it."""

from __future__ import annotations

from textual import events
from textual.widgets import OptionList

from freezetui.session.session import Session
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.screens.failure import FailureScreen
from freezetui.tui.screens.prompt import PromptScreen
from freezetui.tui.screens.stages import StagesScreen


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


async def test_escape_in_one_burst_with_the_key_of_a_dialog_closes_it(opened, monkeypatch):
    shown = []
    push = FreezeTuiApp.push_screen
    monkeypatch.setattr(
        FreezeTuiApp,
        "push_screen",
        lambda app, screen, **more: shown.append(screen) or push(app, screen, **more),
    )
    monkeypatch.setattr(Session, "describable", False)  # the presets would ask the describer first
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("bias")
        await driver.press("enter")
        for key in (
            "p",
            "equals_sign",
            "plus",
            "S",
            "y",
            "d",
            "dollar_sign",
            "exclamation_mark",
            "question_mark",
        ):
            shown.clear()
            for event in typed(driver, key, "escape"):
                driver.app.post_message(event)
            await driver.until(lambda: shown and driver.app.screen is driver.main, 10)
            assert driver.tree.rows.matches is not None, key  # the filter is still there: Esc was not for it


async def test_arrows_in_one_burst_with_the_key_of_a_dialog_move_in_it_and_enter_answers_nothing(opened):
    async with opened() as driver:
        driver.session.stages.start("first")
        driver.session.stages.start("second")
        for event in typed(driver, "equals_sign", "up", "enter", "n"):
            driver.app.post_message(event)
        await driver.until(lambda: isinstance(driver.app.screen, StagesScreen))
        await driver.until(lambda: driver.app.screen.query_one(OptionList).highlighted == 1)
        await driver.press("enter")
        assert driver.app.screen is driver.main and driver.session.stages.shown == "first"


async def test_escape_before_a_dialog_that_nobody_asked_for_leaves_it_there(opened):
    async with opened(errors_allowed=True) as driver:
        early = typed(driver, "escape")
        driver.app.tell_failure(ValueError("boom"), "testing")
        await driver.until(lambda: isinstance(driver.app.screen, FailureScreen))
        await send(driver, early)
        assert isinstance(driver.app.screen, FailureScreen)
        await driver.press("escape")
        assert driver.app.screen is driver.main


async def test_a_stage_moves_with_every_press_of_a_key_that_is_held(opened):
    async with opened() as driver:
        for name in "abcd":
            driver.session.stages.start(name)
        await driver.press("equals_sign")
        for event in typed(driver, "K", "K"):
            driver.app.post_message(event)
        await driver.until(lambda: driver.session.stages.names == ("a", "d", "b", "c"), 10)
        await driver.press("J", "escape", "u")
        assert driver.session.stages.names == ("a", "d", "b", "c")
