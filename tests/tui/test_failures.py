"""An unexpected error in the TUI is told in a dialog, wherever it happens; the plan survives."""

from __future__ import annotations

import importlib
import pkgutil
import threading

import pytest
from textual.message_pump import MessagePump

import freezetui.tui
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.guarded import Guarded
from freezetui.tui.main_screen import MainScreen
from freezetui.tui.run import _threads_told
from freezetui.tui.screens.failure import FailureScreen
from freezetui.tui.widgets.filter_bar import FilterBar
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.parameter_tree import ParameterTree


def boom(*_: object, **__: object) -> None:
    raise ValueError("boom \x1b[31m")


def shown(driver) -> bool:
    return isinstance(driver.app.screen, FailureScreen)


async def provoked_by_a_key(driver, monkeypatch):
    monkeypatch.setattr(driver.tree, "action_edit", boom)
    await driver.press("i")


async def provoked_in_a_worker(driver, monkeypatch):
    monkeypatch.setattr("freezetui.tui.screens.changes.added_rules", boom)
    await driver.press("d")


async def provoked_by_a_message(driver, monkeypatch):
    monkeypatch.setattr(driver.tree, "show_only", boom)
    await driver.press("slash", "c")


async def provoked_by_a_timer(driver, monkeypatch):
    driver.main.set_timer(0.01, boom)


async def provoked_by_a_callback(driver, monkeypatch):
    driver.main.call_after_refresh(boom)


async def provoked_while_drawing(driver, monkeypatch):
    draw, drawn = Header.render, []

    def once(header):
        drawn.append(header)
        return boom() if len(drawn) == 1 else draw(header)

    monkeypatch.setattr(Header, "render", once)
    driver.main.query_one(Header).refresh()


async def provoked_in_a_thread(driver, monkeypatch):
    with _threads_told(driver.app):
        thread = threading.Thread(target=boom)
        thread.start()
        await driver.until(lambda: not thread.is_alive())


@pytest.mark.parametrize(
    ("provoke", "doing"),
    [
        (provoked_by_a_key, "invert frozen/trainable in this subtree"),
        (provoked_in_a_worker, "show changes since the last save"),
        (provoked_by_a_message, "FilterBar.Changed"),
        (provoked_by_a_timer, "updating the screen"),
        (provoked_by_a_callback, "updating the screen"),
        (provoked_while_drawing, "updating the screen"),
        (provoked_in_a_thread, "working in the background"),
    ],
)
async def test_any_error_becomes_a_dialog_and_the_plan_can_be_saved(
    opened, tmp_path, monkeypatch, provoke, doing
):
    async with opened(errors_allowed=True) as driver:
        driver.go("features")
        await driver.press("f")
        with monkeypatch.context() as patch:
            await provoke(driver, patch)
            await driver.until(lambda: shown(driver) and "went wrong" in driver.screen_text(), 10)
        assert "can be saved now" in driver.screen_text()
        text = driver.app.screen._body
        assert "ValueError: boom" in text
        assert "errors.log" in text
        assert "\x1b" not in text
        log = (tmp_path / "state" / "freezetui" / "errors.log").read_text()
        assert "Traceback" in log
        assert doing in log
        await driver.press("s")
        await driver.until(lambda: not driver.session.unsaved, 10)
        assert (tmp_path / "vgg_digits.freeze.yaml").exists()
        await driver.press("escape", "j", "t", "q")
        await driver.until(lambda: "Unsaved changes" in driver.screen_text(), 10)
    assert driver.app.crash is None


async def test_one_dialog_for_errors_that_come_together_and_the_next_is_told_again(opened, monkeypatch):
    async with opened(errors_allowed=True) as driver:
        with monkeypatch.context() as patch:
            patch.setattr(driver.tree, "action_edit", boom)
            for _ in range(3):
                driver.app.tell_failure(ValueError("again"), "invert")
            await driver.until(lambda: shown(driver))
            await driver.press("escape")
            assert not shown(driver)
            await driver.press("i")
            assert shown(driver)
            await driver.press("q")
    assert driver.app.return_code == 0
    assert len(driver.app.errors) == 4


async def test_errors_without_end_end_the_app(opened):
    with pytest.raises(ValueError, match="again"):
        async with opened() as driver:
            for _ in range(4):
                assert driver.app.crash is None
                driver.app.tell_failure(ValueError("again"), "updating the screen")
            await driver.until(lambda: not driver.app.is_running)
    assert driver.app.return_code == 70


async def test_no_widget_is_called_like_one_of_textual_that_is_shown(opened):
    """The default CSS of Textual's widget would be its own too."""
    async with opened() as driver:
        await driver.press("R", "D")
        mounted = {each for widget in driver.main.walk_children() for each in type(widget).__mro__}
    ours = {each.__name__ for each in mounted if each.__module__.startswith("freezetui.")}
    assert len(ours) > 10 and not ours & {e.__name__ for e in mounted if e.__module__.startswith("textual.")}


def test_every_screen_and_widget_is_guarded():
    for module in pkgutil.walk_packages(freezetui.tui.__path__, "freezetui.tui."):
        importlib.import_module(module.name)
    pending, ours = [MessagePump], set()
    while pending:
        pending += (subclasses := pending.pop().__subclasses__())
        ours |= {each for each in subclasses if each.__module__.startswith("freezetui.")}
    assert {FilterBar, ParameterTree, FreezeTuiApp, MainScreen} <= ours
    assert [each for each in ours if not issubclass(each, Guarded)] == []
