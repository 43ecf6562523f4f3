"""The map: each cell a share of the parameters in model order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.tui.columns import Measures
from freezetui.tui.widgets.model_map import map_cells, node_at
from freezetui.tui.widgets.tree_line import MARKS
from freezetui.tui.widgets.tree_painter import TreePainter
from freezetui.tui.widgets.visible_rows import VisibleRows


def painter_of(*sizes: int) -> TreePainter:
    tree = ParamTree([TensorInfo(f"m.{i}", (size,), "float32") for i, size in enumerate(sizes)])
    return TreePainter(FreezePlan(tree), VisibleRows(tree))


def drawn(painter: TreePainter, width: int) -> str:
    return "".join(cell.text for cell in map_cells(painter, width))


def test_cells_are_shares_of_the_parameters():
    painter = painter_of(50, 25, 25)
    painter.plan.set([(0, 1)], False)
    assert drawn(painter, 8) == "▓▓▓▓░░░░"
    assert drawn(painter, 2) == "▓░"
    assert drawn(painter, 1) == "▒"
    assert drawn(painter, 3) == "▓▒░"
    assert drawn(painter_of(0, 0), 5) == ""


@pytest.mark.parametrize("width", [1, 7, 60, 80, 200, 501])
def test_every_tensor_is_in_a_cell_and_every_cell_has_one(width):
    painter = painter_of(*[1, 999, 3, 0, 0, 70_000] * 20)
    cells = drawn(painter, width)
    assert len(cells) == width and set(cells) == {"░"}
    for index in range(len(painter.rows.tree.tensors)):
        if painter.rows.tree.tensors[index].elements:
            painter.marks = bytes(index) + bytes([5]) + bytes(119 - index)
            assert "✗" in drawn(painter, width)
    nodes = [node_at(painter.rows.tree, x, width) for x in range(width)]
    assert nodes == sorted(nodes) and None not in nodes
    assert node_at(painter.rows.tree, width, width) is None


def test_after_a_check_what_is_proven_is_solid_and_the_worst_of_a_cell_shows():
    painter = painter_of(10, 10, 10, 10)
    painter.plan.set([(0, 3)], False)
    painter.marks = bytes([1, MARKS.index("?"), MARKS.index("✗"), 1])
    assert drawn(painter, 4) == "█?✗░"
    assert drawn(painter, 2) == "?✗"
    assert [cell.style for cell in map_cells(painter, 4)] == ["frozen", "unproven", "wrong", "trainable"]


def test_values_are_heights():
    painter = painter_of(10, 10, 10, 10)
    comparison = SimpleNamespace(
        relative_change=[1.0, 0.01, 0.0, None], words={}, squares=(), changed_frozen=[1]
    )
    session = SimpleNamespace(tree=painter.rows.tree, report=None, comparison=comparison)
    painter.measure = Measures(session).now()[-1]
    cells = list(map_cells(painter, 4))
    assert [cell.text for cell in cells] == ["█", "▄", "·", " "], "none is not unknown"
    assert [cell.style for cell in cells] == ["trainable", "wrong", "dim", "dim"]


def test_a_hundred_thousand_tensors_take_a_moment():
    from time import process_time

    painter = painter_of(*[3, 5] * 50_000)
    painter.marks = bytes(100_000)
    started = process_time()
    for _ in range(10):
        drawn(painter, 200)
    assert (process_time() - started) / 10 < 0.05


@pytest.mark.parametrize("size", [(60, 15), (200, 60)])
async def test_a_click_goes_to_the_line_that_shows_the_place(opened, size):
    async with opened(size=size) as driver:
        # A tall screen opens more levels at the start.
        assert (len(driver.tree.rows) == len(driver.session.tree)) == (size[1] > 50)
        driver.go("features")
        await driver.press("f", "g")
        text = str(driver.main.query_one("#map").render_line(0).text)
        assert len(text) == size[0] and text[0] == "◆" and "▓▓▓" in text and "░░░" in text
        await driver.pilot.click("#map", offset=(size[0] - 2, 0))
        await driver.pilot.pause()
        assert driver.session.tree.path(driver.tree.node).startswith("classifier")
        assert driver.tree.has_focus
        place = driver.main.query_one("#map").render_line(0).text.index("◆")
        assert place > size[0] // 3


async def test_the_cursor_hides_no_mark_where_its_line_has_another_cell(opened):
    async with opened(size=(80, 24)) as driver:
        driver.go("features")
        marks = bytearray(len(driver.session.tree.tensors))
        marks[0] = MARKS.index("✗")
        driver.tree.marks = bytes(marks)
        text = str(driver.main.query_one("#map").render_line(0).text)
        assert text.startswith("✗◆")
        driver.tree.marks = bytes([MARKS.index("?")]) * len(marks)
        assert str(driver.main.query_one("#map").render_line(0).text).startswith("◆??")
