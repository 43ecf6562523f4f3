"""What is around the screens: opening, keys by their ids, the palette."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

from freezetui.errors import CheckpointError
from freezetui.session.check_request import Job
from freezetui.session.loading import Opening
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.tui.app import FreezeTuiApp, all_bindings
from freezetui.tui.bindings import SECTIONS
from freezetui.tui.main_screen import MainScreen
from freezetui.tui.screens.busy import BusyScreen
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.loading import LoadingScreen
from freezetui.tui.screens.presets import PresetScreen
from freezetui.tui.screens.prompt import PromptScreen
from freezetui.tui.screens.text_viewer import TextViewer
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.filter_bar import FilterBar
from freezetui.tui.widgets.filter_input import FilterInput
from freezetui.tui.widgets.parameter_tree import ParameterTree

OWNERS = (
    *(FreezeTuiApp, MainScreen, ParameterTree, FilterBar, FilterInput, CheckPanel),
    *(BusyScreen, ConfirmScreen, PresetScreen, PromptScreen, TextViewer),
)


def bindings_of(owner: type[DOMNode]) -> Iterator[Binding]:
    return (key for key in owner.__dict__.get("BINDINGS", ()) if isinstance(key, Binding))


@pytest.mark.parametrize("owner", OWNERS)
def test_every_binding_has_an_id_of_its_own(owner):
    ids = Counter(binding.id for binding in bindings_of(owner))
    assert None not in ids
    assert set(ids.values()) == {1}


def test_the_sections_name_every_key_of_the_main_screen_once():
    named = [id for ids in SECTIONS.values() for id in ids]
    assert sorted(named) == sorted(binding.id for binding in all_bindings())


async def test_keys_can_be_mapped_by_their_ids(opened):
    async with opened() as driver:
        driver.app.set_keymap({"tree.freeze": "x"})
        driver.go("features")
        await driver.press("f")
        assert driver.state("features") == "trainable"
        await driver.press("x")
        assert driver.state("features") == "frozen"


async def test_while_a_slow_source_is_read_its_progress_is_shown(sample):
    options = Options(source=str(sample("vgg_digits.pth")))
    opening = Opening()
    opening.progress = "3 of 7 shards"
    app = FreezeTuiApp(options, opening)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert isinstance(app.screen, LoadingScreen)
        line = app.screen._compositor.render_strips()[0].text
        assert "Loading…" in line and "3 of 7 shards" in line and "q quits" in line
        opening.progress = "4 of 7 shards"
        while "4 of 7 shards" not in app.screen._compositor.render_strips()[0].text:
            await pilot.pause(0.02)
        opening.set_result(Session(options))
        while app.main_screen is None:
            await pilot.pause(0.02)
        await pilot.press("f")
        assert app.screen is app.main_screen
        assert app.main_screen.session.totals.trainable.tensors == 0


async def test_a_slow_source_can_be_left(sample):
    app = FreezeTuiApp(Options(source=str(sample("vgg_digits.pth"))), Opening())
    async with app.run_test() as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value == 0
    assert app.failure is None


@pytest.mark.parametrize(
    "error", [CheckpointError("is damaged.", ""), PermissionError(13, "denied", "x.pth")]
)
async def test_what_fails_while_it_is_waited_for_ends_the_app_with_2(error):
    opening = Opening()
    app = FreezeTuiApp(Options(source="x.pth"), opening)
    async with app.run_test() as pilot:
        opening.set_exception(error)
        for _ in range(100):
            await pilot.pause(0.02)
            if app.failure is not None:
                break
    assert app.failure is not None
    assert app.return_value == 2


async def test_a_file_that_is_read_already_is_on_the_first_screen(sample):
    options = Options(source=str(sample("vgg_digits.pth")))
    opening = Opening()
    opening.set_result(Session(options))
    app = FreezeTuiApp(options, opening)
    async with app.run_test():
        assert isinstance(app.default_screen, MainScreen)


async def test_the_palette_offers_what_could_do_something_now(opened):
    async with opened() as driver:

        def offered() -> set[str]:
            return {command.title for command in driver.app.get_system_commands(driver.app.screen)}

        assert {"Freeze this line", "Save the freeze config", "This help"} <= offered()
        sometimes = {
            "Undo the last change",
            "Next match",
            "Freeze all that the filter matches",
            "Freeze everything before this line",
            "Apply this line's state to every repeated block; press again to toggle",
            "Clear the filter, or close the check panel or the config",
            "End the range",
            "Next stage, or what is common to all",
        }
        assert not sometimes & offered()
        assert "Move one line up" not in offered()
        driver.go("features.24.weight")
        await driver.press("f", "slash")
        await driver.type("bias")
        await driver.press("enter", "v", "plus", "enter")
        assert sometimes <= offered()
        await driver.press("u")
        assert "Redo" in offered()
        helps = {each.title: each.help for each in driver.app.get_system_commands(driver.app.screen)}
        assert helps["End the range"] == "key Esc" and helps["Toggle freeze"] == "key Space"
        assert helps["Filter by words or pattern"] == "key /"
        assert "Open another state_dict of the file, such as its EMA copy" not in helps


async def test_what_the_palette_offers_acts_on_the_tree(opened):
    async with opened() as driver:
        driver.go("features")
        await driver.press("ctrl+p")
        await driver.type("freeze this line")
        await driver.pilot.pause(0.5)
        await driver.press("enter")
        await driver.until(lambda: driver.state("features") == "frozen")


async def test_keys_of_the_tree_work_from_the_findings(opened):
    async with opened() as driver:
        panel = driver.main.query_one(CheckPanel)
        driver.go("features")
        await panel.start(
            [Job(driver.session.request(), driver.session.plan.mask(), driver.session.stages.settings)], 0.001
        )
        await driver.until(lambda: not panel.running)
        findings = panel.query_one("#check-findings")
        findings.display = True
        driver.main.set_focus(findings)
        await driver.pilot.pause()
        assert findings.has_focus
        await driver.press("f")
        assert driver.state("features") == "frozen"
        assert driver.tree.has_focus


async def test_a_message_that_comes_after_the_last_screen_is_no_error(opened):
    async with opened() as driver:
        pass
    assert not driver.app._screen_stack
    driver.app.on_notify()
