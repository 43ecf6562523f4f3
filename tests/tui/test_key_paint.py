"""What one key costs: one frame that shows all of it, and only what changed is drawn or counted anew."""

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file
from textual.screen import Screen

from freezetui.freeze.plan import FreezePlan
from freezetui.tui.widgets import model_map
from freezetui.tui.widgets.footer import KeyFooter
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.totals_bar import TotalsBar
from freezetui.tui.widgets.tree_painter import TreePainter


@pytest.fixture
def blocks(tmp_path):
    """3,000 tensors in 1,500 blocks that look alike, and a head."""
    tensors = {f"layers.{i}.{name}": torch.zeros(1) for i in range(1_500) for name in ("weight", "bias")}
    path = tmp_path / "blocks.safetensors"
    save_file({**tensors, "head.weight": torch.zeros(4)}, path)
    return path


@pytest.fixture
def counted(monkeypatch):
    """`with counted() as calls`: how often frames were painted and things drawn or counted."""
    calls = Counter()

    def watch(owner, name, what):
        original = getattr(owner, name)

        def call(*given, **options):
            calls[what] += 1
            return original(*given, **options)

        monkeypatch.setattr(owner, name, call)

    watch(Screen, "_compositor_refresh", "frames")
    watch(Screen, "_refresh_layout", "layouts")
    watch(TreePainter, "line", "lines")
    watch(model_map, "map_cells", "maps")
    watch(Header, "render", "headers")
    watch(TotalsBar, "render", "totals")
    watch(KeyFooter, "render", "footers")
    tally = FreezePlan._tally

    def tallied(self, value, states, start):
        calls["counted"] += len(states)
        return tally(self, value, states, start)

    monkeypatch.setattr(FreezePlan, "_tally", tallied)

    @contextmanager
    def begin():
        calls.clear()
        yield calls

    return begin


async def test_moving_draws_two_lines_in_one_frame_and_counts_nothing(opened, blocks, counted):
    async with opened(blocks, (120, 40)) as driver:
        await driver.press("E", "j", "j", "j")
        with counted() as calls:
            await driver.press("j")
        assert calls["frames"] == 1 and 1 <= calls["lines"] <= 2 and not calls["layouts"]
        assert calls["footers"] == 1 and not calls["headers"] + calls["totals"] + calls["maps"]
        assert calls["counted"] < 100
        assert f"▏ {driver.session.tree.path(driver.tree.node)} " in driver.screen_text()


async def test_a_page_draws_its_lines_once(opened, blocks, counted):
    async with opened(blocks, (120, 40)) as driver:
        await driver.press("E")
        height = driver.tree.size.height
        await driver.press("pagedown")
        with counted() as calls:
            await driver.press("pagedown")
        assert calls["frames"] == 1 and not calls["layouts"] + calls["maps"]
        assert calls["lines"] <= height
        assert calls["counted"] < 20 * height


async def test_an_edit_is_one_frame_with_all_that_it_changes(opened, blocks, counted, monkeypatch):
    async with opened(blocks, (120, 40)) as driver:
        await driver.press("E", "g")
        shown = []
        refresh = Screen._compositor_refresh

        def looked(screen):
            refresh(screen)
            shown.append(driver.screen_text())

        monkeypatch.setattr(Screen, "_compositor_refresh", looked)
        with counted() as calls:
            await driver.press("space")
        assert calls["frames"] == 1 and not calls["layouts"]
        assert calls["headers"] == calls["totals"] == calls["footers"] == calls["maps"] == 1
        assert calls["lines"] <= driver.tree.size.height
        (frame,) = shown
        for part in (
            "■ frozen   ▾ blocks",
            "■ frozen 3,004 (100%)",
            "3,001 tensors frozen",
            "▓▓▓",
            "unsaved",
            "undo",
        ):
            assert part in frame, part


async def test_the_whole_model_is_counted_once_per_edit(opened, blocks, counted):
    async with opened(blocks, (120, 40)) as driver:
        await driver.press("E", "g")
        with counted() as calls:
            await driver.press("space")
        assert calls["counted"] < 8 * 3_001  # by two states each: the model, its layers, and what is visible
        with counted() as calls:
            await driver.press("j", "k")
        assert calls["counted"] < 500
