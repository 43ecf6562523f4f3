"""The footer names what does something now, and the most needed keys where there is little room."""

from __future__ import annotations

import pytest

from freezetui.tui.widgets.model_map import LEGEND
from freezetui.tui.widgets.tree_line import MARKS


def footer(driver) -> str:
    return driver.screen_text().splitlines()[-1]


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
async def test_freeze_train_and_undo_are_named_at_every_size(opened, size):
    async with opened(size=size) as driver:
        await driver.press("j", "f")
        for key in ("f freeze", "t train", "u undo", "/ filter", "r check", "s save", "? help"):
            assert key in footer(driver)


async def test_the_keys_of_the_story_are_named_at_60_by_15(opened):
    async with opened(size=(60, 15)) as driver:
        await driver.press("j", "f")
        keys = footer(driver).split()
        assert {"f", "t", "u", "r", "s", "?", "+", "y", "p"} <= set(keys)
        await driver.press("plus", "enter")
        keys = footer(driver).split()
        assert {"f", "t", "u", "r", "s", "?", "+", "y", "p", "[", "]"} <= set(keys)
        known = " ".join(f"{key.key} {key.label}" for key in driver.main._footer_keys())
        assert set(keys) <= set(known.split()), "no word is cut"


async def test_what_cannot_train_is_a_remark_and_not_a_key(opened):
    async with opened("shufflenet_digits.safetensors", size=(80, 24)) as driver:
        buffer = next(i for i, t in enumerate(driver.session.tree.tensors) if t.untrainable_reason)
        driver.tree.go_to(driver.session.tree.position[buffer])
        await driver.pilot.pause()
        assert "(buffers do not require grad)" in footer(driver)


async def test_the_footer_follows_the_context(opened):
    async with opened(size=(130, 30)) as driver:
        assert "u undo" not in footer(driver) and "[ ] stage" not in footer(driver)
        await driver.press("j", "f")
        assert "u undo" in footer(driver)
        await driver.press("plus", "enter")
        assert "[ ] stage" in footer(driver)
        await driver.press("slash")
        assert footer(driver).startswith("Enter apply") and "Esc clear" in footer(driver)
        await driver.type("bias")
        await driver.press("enter")
        assert "F freeze all" in footer(driver) and "Esc end filter" in footer(driver)
    async with opened("shufflenet_digits.safetensors", size=(130, 30)) as driver:
        buffer = next(i for i, t in enumerate(driver.session.tree.tensors) if t.untrainable_reason)
        driver.tree.go_to(driver.session.tree.position[buffer])
        await driver.pilot.pause()
        assert "f freeze" not in footer(driver) and "buffers do not require grad" in footer(driver)


async def test_a_click_on_a_key_does_it(opened):
    async with opened() as driver:
        await driver.press("j")
        await driver.pilot.click("#keys", offset=(footer(driver).index("f freeze"), 0))
        await driver.pilot.pause()
        assert driver.state("features") == "frozen"


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (130, 18), (200, 50)], ids=str)
async def test_a_message_covers_neither_tree_nor_details_nor_totals_nor_keys(sample, size):
    from freezetui.session.options import Options
    from freezetui.tui.app import FreezeTuiApp

    app = FreezeTuiApp(Options(source=str(sample("vgg_digits.pth")), engine=False))
    async with app.run_test(size=size, notifications=True) as pilot:
        while app.main_screen is None:
            await pilot.pause(0.02)
        await pilot.pause()
        place = app.main_screen.query_one("#map").region.y

        def lines() -> list[str]:
            return ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]

        before = lines()
        app.notify("first", timeout=30)
        app.notify("one\ntwo", title="Saved", timeout=30)

        async def shows(text: str) -> list[str]:
            for _ in range(60):
                await pilot.pause(0.05)
                if any(text in line for line in lines()):
                    return lines()
            raise AssertionError(lines())

        now = await shows("Saved: one; two")
        assert now[:place] + now[place + 1 :] == before[:place] + before[place + 1 :]
        assert now[place].rstrip() == " Saved: one; two"
        app.notify("word " * 60, timeout=30)
        assert "…" in (await shows(" word word"))[place]
        await pilot.press("exclamation_mark")
        await shows("last messages")
        assert app.said[-1] == "word " * 60


async def test_on_a_wide_screen_the_signs_of_the_map_are_told_beside_the_keys(opened):
    async with opened(size=(200, 50)) as driver:
        assert driver.screen_text().endswith("map: ░ trainable ")
        driver.go("features")
        await driver.press("f")
        assert driver.screen_text().endswith("map: ▓ frozen  ░ trainable  ▒ both ")
        driver.tree.marks = bytes([MARKS.index("?")]) * len(driver.session.tree.tensors)
        driver.main.show_line()
        await driver.pilot.pause()
        assert driver.screen_text().endswith("map: ? not proven ")


async def test_on_other_screens_the_help_tells_what_the_signs_of_the_map_mean(opened):
    async with opened() as driver:
        assert "map:" not in driver.screen_text()
        await driver.press("question_mark", "G")
        for sign, word in LEGEND.items():
            assert sign in driver.screen_text(), word
        assert "the higher, the larger" in driver.screen_text()


@pytest.mark.parametrize("key", ["question_mark", "dollar_sign", "exclamation_mark", "d"])
async def test_the_key_that_opens_a_text_closes_it(opened, key):
    async with opened() as driver:
        await driver.press("f", key)
        assert driver.app.screen is not driver.main
        await driver.press(key)
        assert driver.app.screen is driver.main
