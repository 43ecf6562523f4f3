"""A description comes in: classes, order and ties, without a jump; and the presets wait for it."""

from __future__ import annotations

from time import monotonic

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from freezetui.description.types import Description, LiveModule
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.freeze.structure import Block, Head, Structure
from freezetui.model_spec import ModelSpec
from freezetui.tui import describing
from freezetui.tui.screens.busy import BusyScreen
from freezetui.tui.screens.presets import PresetScreen
from support import tiny_transformers as tiny
from support.reports import sanity_report


def live(name: str, file: str | None = None, tied_to: str = "") -> LiveTensor:
    files = (name if file is None else file,) if file != "" else ()
    return LiveTensor(name, "parameter", (2, 2), files, clean=name, tied_to=tied_to)


@pytest.fixture
def chain(tmp_path):
    """A file whose alphabet is not the model's order: a stem called `z`, a last layer called `a`."""
    names = ["a.weight", "m.0.weight", "m.1.weight", "m.2.weight", "z.weight"]
    save_file({name: torch.zeros(2, 2) for name in names}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def description() -> Description:
    rows = [live("z.weight"), *(live(f"m.{i}.weight") for i in range(3)), live("a.weight")]
    head = live("out.weight", "a.weight", tied_to="a.weight")
    return Description(
        spec=ModelSpec("torchvision:x"),
        model="Chain",
        names=NameMap((*rows, head)),
        modules=(
            LiveModule("", "Chain", ""),
            LiveModule("z", "Linear 2 -> 2", "z"),
            LiveModule("m", "Sequential", "m"),
            LiveModule("m.0", "Linear 2 -> 2", "m.0"),
            LiveModule("a", "Linear 2 -> 2", "a"),
        ),
        structure=Structure(
            order=("z.weight", "m.0.weight", "m.1.weight", "m.2.weight", "a.weight"),
            heads=(Head("", "a", ("a.weight",)),),
            blocks=(Block("", 1), Block("", 2), Block("", 3)),
            goes_by="Chain",
        ),
        frozen=("z.weight",),
        takes="vectors 2",
    )


async def take_in(driver, what: Description) -> None:
    driver.main._describing.arrived = describing.Arrival(what, driver.session.tree_of(what))
    driver.tree.touched = 0.0  # as if no key had been pressed for a while
    driver.main.take_in_description()
    await driver.pilot.pause()


async def test_lines_change_places_between_keys_only_and_it_is_said(opened, chain):
    async with opened(chain) as driver:
        driver.go("m.1.weight")
        driver.tree.touched = monotonic() + 60
        before = driver.tree.shown_paths()
        what = description()
        driver.main._describing.arrived = describing.Arrival(what, driver.session.tree_of(what))
        driver.main.take_in_description()
        await driver.pilot.pause()
        assert driver.tree.shown_paths() == before and "order" not in driver.notices()
        driver.tree.touched = 0.0
        await driver.until(lambda: driver.tree.shown_paths() != before, 5)
        await driver.pilot.pause()
        assert "in the model's own order" in driver.notices()
        assert driver.session.tree.path(driver.tree.node) == "m.1.weight"


async def test_nothing_is_said_where_no_line_on_the_screen_changes_its_place(opened, chain):
    async with opened(chain) as driver:
        await driver.press("c")
        before = driver.tree.shown_paths()
        await take_in(driver, description())
        await driver.pilot.pause()
        assert (driver.tree.shown_paths() != before) is bool(driver.notices())


async def test_what_is_frozen_stays_frozen_when_the_model_ties_it_to_another_and_it_is_said(opened, chain):
    what = description()
    both = ("z.weight", "a.weight")
    first = msgspec.structs.replace(live("z.weight"), files=both)
    second = msgspec.structs.replace(live("a.weight", tied_to="z.weight"), files=both)
    tied = NameMap((first, *(live(f"m.{i}.weight") for i in range(3)), second))
    async with opened(chain) as driver:
        driver.go("z.weight")
        await driver.press("f", "s")
        await driver.until(lambda: driver.session.saved_here)
        driver.session.checked(sanity_report(), driver.session.plan.mask())
        await take_in(driver, msgspec.structs.replace(what, names=tied))
        await driver.pilot.pause()
        assert driver.state("z") == driver.state("a") == "frozen"
        assert "a.weight frozen with z.weight; they are one tensor in the model" in driver.notices()
        assert not driver.session.report_is_stale, "the check was of one parameter, too"
        assert driver.session.saved_here, "so does apply() read the config"
        await driver.press("u")
        assert driver.session.plan.totals().frozen.tensors == 0


async def test_order_follows_the_model_and_the_plan_its_undo_and_the_cursor_stay(opened, chain):
    async with opened(chain) as driver:
        driver.go("m.1.weight")
        await driver.press("f")
        driver.go("a")
        await driver.press("f")
        before = driver.session.written()
        line = driver.tree.cursor - driver.tree.scroll_offset.y
        await take_in(driver, description())
        assert driver.session.tree.tensors[0].name == "z.weight"
        assert driver.session.tree.path(driver.tree.node) == "a"
        assert driver.tree.scroll_offset.y == 0 and 0 <= line <= driver.tree.cursor
        assert driver.state("a") == driver.state("m.1") == "frozen"
        assert driver.state("z") == driver.state("m.0") == "trainable"
        assert driver.session.written() == before
        assert "▏ Linear 2 -> 2" in driver.screen_text(), "beside its line and in the details"
        assert "▏ Module" not in driver.screen_text()
        driver.tree.go_to(0)
        await driver.pilot.pause()
        assert "▏ Whole model: Chain" in driver.screen_text()
        driver.go("a")
        await driver.press("u")
        assert driver.state("a") == "trainable" and driver.state("m.1") == "frozen"
        await driver.press("w")
        assert driver.state("z") == driver.state("m") == "frozen"
        assert driver.state("a") == "trainable"
        await driver.press("u", "u")
        assert not driver.session.unsaved
        await driver.press("ctrl+r")
        assert driver.state("m.1") == "frozen"


async def test_folds_and_a_later_save_are_as_before(opened, chain, tmp_path):
    async with opened(chain) as driver:
        driver.go("m")
        await driver.press("c")
        assert not driver.tree.rows.is_open(driver.tree.node)
        lines = [driver.session.tree.path(node) for node in driver.tree.rows.visible]
        await take_in(driver, description())
        assert sorted(driver.session.tree.path(node) for node in driver.tree.rows.visible) == sorted(lines)
        driver.go("z")
        await driver.press("f", "s")
        await driver.until(lambda: not driver.session.unsaved)
        assert driver.session.written().expect.frozen.tensors == 1
    async with opened(chain) as driver:  # without a description the config selects the same
        assert driver.session.differences == ()
        assert driver.state("z") == "frozen" and driver.state("a") == driver.state("m") == "trainable"


async def test_the_details_name_what_is_different_in_the_live_model(opened, chain):
    async with opened(chain, size=(140, 40)) as driver:
        await take_in(driver, description())
        driver.go("a.weight")
        await driver.pilot.pause()
        assert "out.weight" in driver.screen_text()
        driver.go("z.weight")
        await driver.pilot.pause()
        assert "frozen by the model's constructor" in driver.screen_text()
        await driver.press("g")
        assert "input, for example: vectors 2" in driver.screen_text()


async def test_it_waits_for_the_filter_and_for_dialogs(opened, chain):
    async with opened(chain) as driver:
        await driver.press("slash")
        await driver.type("m.")
        await take_in(driver, description())
        assert driver.session.description is None
        await driver.press("escape", "escape")
        await driver.until(lambda: driver.session.description is not None)
        assert driver.session.tree.tensors[0].name == "z.weight"
        await driver.press("slash")
        await driver.type("z.w")
        assert len(driver.tree.rows.matches) == 1 and driver.tree.rows.matches[0] == (0, 1)


async def test_a_preset_asks_for_the_description_and_waits(opened, tmp_path, in_process):
    tiny.saved(tiny.build("CLIPModel"), tmp_path)
    async with opened(tmp_path, size=(140, 40)) as driver:
        await driver.press("p")
        await driver.until(lambda: isinstance(driver.app.screen, (BusyScreen, PresetScreen)))
        await driver.until(lambda: isinstance(driver.app.screen, PresetScreen), 120)
        await driver.until(lambda: "Presets for CLIPModel" in driver.screen_text())
        text = driver.screen_text()
        assert "text_projection" in text and "visual_projection" in text
        assert "of 2 text blocks" in text and "of 2 vision blocks" in text
        await driver.press("enter")
        await driver.until(lambda: driver.session.unsaved)
        assert driver.state("text_projection") == "trainable"
        assert driver.state("visual_projection") == driver.state("text_model") == "frozen"


async def test_in_the_background_it_starts_only_where_it_may(opened, tmp_path, monkeypatch, sample, forked):
    monkeypatch.setattr(describing, "DELAY", 0.01)
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        await driver.pilot.pause(0.2)
        assert driver.session._describer._process is None  # --no-engine
    monkeypatch.setattr("freezetui.description.memory.MIN_FREE_BYTES", 2**60)
    async with opened(path, engine=True) as driver:
        await driver.pilot.pause(0.3)
        assert driver.session._describer._process is None
    monkeypatch.setattr("freezetui.description.memory.MIN_FREE_BYTES", 0)
    async with opened(path, engine=True, size=(140, 40)) as driver:
        await driver.until(lambda: driver.session.description is not None, 120)
        assert "Sequential" in driver.screen_text()
        assert driver.session._describer._process.pid
    assert driver.session._describer._process is None


async def test_why_there_is_no_description_is_told_and_nothing_else_changes(opened, tmp_path, in_process):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    tensors = {name: t.clone() for name, t in Net().state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"]}')
    async with opened(tmp_path, size=(140, 40)) as driver:
        await driver.press("p")
        await driver.until(lambda: isinstance(driver.app.screen, PresetScreen), 120)
        await driver.until(lambda: "Presets, by names" in driver.screen_text(), 20)
        await driver.press("escape")
        assert driver.session.description is None and "NoSuchModel" in driver.session.undescribed
        await driver.press("g")
        assert "model not built" in driver.screen_text()
