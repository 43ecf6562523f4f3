"""The details pane: it scrolls where the text is long, and moving costs no layout of the screen."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from textual.widgets import Input
from torch import nn

from freezetui.recognition.pickled_class import class_line
from freezetui.tui.widgets.details import DetailsPane
from freezetui.tui.widgets.text_lines import TextLines


async def test_a_long_text_scrolls_and_a_short_one_after_it_does_not(opened, sample):
    async with opened(sample("vgg_digits.pth"), (120, 16)) as driver:
        pane = driver.main.query_one(DetailsPane)
        assert pane.max_scroll_y > 0  # the whole model, with its cost
        driver.go("features.0.bias")
        await driver.pilot.pause()
        assert pane.max_scroll_y == 0
        await driver.press("g")
        assert pane.max_scroll_y > 0


async def test_a_key_needs_no_layout_of_the_screen(opened, sample, monkeypatch):
    async with opened(sample("vgg_digits.pth"), (120, 40)) as driver:
        screen, layouts = driver.app.screen, []
        refresh = screen._refresh_layout

        def counted(*given, **options):
            layouts.append(given)
            refresh(*given, **options)

        monkeypatch.setattr(screen, "_refresh_layout", counted)
        await driver.press("j", "j", "space", "k", "G", "g")
        assert not layouts
        await driver.press("R")  # the panel takes room
        assert layouts


async def test_the_text_can_be_selected_over_wrapped_lines(opened, tmp_path):
    name = ".".join(["block"] * 12) + ".weight"  # longer than the pane is wide
    save_file({name: torch.zeros(2, 3)}, tmp_path / "long.safetensors")
    async with opened(tmp_path / "long.safetensors", (120, 40)) as driver:
        await driver.press("E", "G")
        pane = driver.main.query_one(TextLines)
        x, y = pane.region.offset
        await driver.pilot.mouse_down(offset=(x, y))
        await driver.pilot.hover(offset=(x + 3, y + 1))
        await driver.pilot.mouse_up(offset=(x + 3, y + 1))
        chosen = driver.app.screen.get_selected_text()
        assert chosen and len(chosen) > pane.size.width and name.startswith(chosen)  # one line, as it is
        colors = [
            {s.style.bgcolor for s in strip if s.text.strip()}
            for strip in pane.render_lines(pane.size.region)
        ]
        assert colors[0].isdisjoint(colors[2]) and len(colors[1]) == 2


async def test_the_classes_that_a_pickled_module_knows_are_shown_before_anything_is_described(
    opened, tmp_path, monkeypatch
):
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), path := tmp_path / "module.pt")
    async with opened(path, size=(200, 40)) as driver:
        driver.go("1")
        await driver.pilot.pause()
        lines = driver.screen_text().splitlines()
        assert "layer" in lines[1] and "Sequential" in lines[2]
        assert any("Conv2d" in line for line in lines) and any("BatchNorm2d" in line for line in lines)
        driver.go("1.bias")
        await driver.pilot.pause()
        assert "16 bytes" in driver.screen_text() and "(16 bytes)" not in driver.screen_text()


@pytest.mark.parametrize(
    ("root", "line"),
    [
        ("my.models.Net", "my.models:Net"),
        ("__main__.Net", ""),
        ("torch.nn.modules.container.Sequential", ""),
        ("__torch__.my.Net", ""),
        ("Net", ""),
        ("", ""),
    ],
)
def test_the_class_of_a_pickled_module_is_named_where_it_can_be_imported(root, line):
    assert class_line({"": root, "body": "my.Body"}) == line
    assert class_line({}) == ""


async def test_the_question_what_builds_the_model_names_the_class_but_does_not_fill_it_in(opened, tmp_path):
    module = types.ModuleType("pickled_here")
    module.Net = type("Net", (nn.Linear,), {"__module__": "pickled_here"})
    sys.modules["pickled_here"] = module
    try:
        torch.save(module.Net(2, 2), path := tmp_path / "module.pt")
    finally:
        del sys.modules["pickled_here"]
    async with opened(path, size=(80, 24)) as driver:
        await driver.press("o")
        assert "The file holds a pickled_here:Net" in " ".join(driver.screen_text().split())
        assert driver.app.screen.query_one(Input).value == ""
