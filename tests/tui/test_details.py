"""The details pane: it scrolls where the text is long, and moving costs no layout of the screen."""

from freezetui.tui.widgets.details import DetailsPane


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
