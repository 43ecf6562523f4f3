"""The details pane: it scrolls where the text is long, and moving costs no layout of the screen."""

import torch
from safetensors.torch import save_file

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
