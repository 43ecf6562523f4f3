"""Names of 10,000 characters and paths of 2,000 segments: opened, shown, chosen, saved and read back."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
import torch
from safetensors.torch import save_file
from textual.geometry import Region

from freezetui.checkpoint.open import open_checkpoint
from freezetui.config.codec import read_config
from freezetui.formatting.tree import show_lines
from freezetui.freeze.minimize import choose_rules
from freezetui.freeze.rules import overlay
from freezetui.freeze.tree import ParamTree
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.tui.app import FreezeTuiApp

DEEP = ".".join(["a"] * 2000)
TENSORS = {
    f"{DEEP}.weight": torch.ones(2),
    f"{DEEP}.b.bias": torch.ones(2),
    "n" * 10_000 + ".weight": torch.ones(2),
    "head.weight": torch.ones(3),
}


@pytest.fixture(params=["zip", "safetensors"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"long.{request.param}"
    if request.param == "zip":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    return path


def test_chosen_and_saved(checkpoint: Path) -> None:
    session = Session(Options(str(checkpoint)))
    assert {tensor.name for tensor in session.tree.tensors} == set(TENSORS)
    index = next(i for i, tensor in enumerate(session.tree.tensors) if tensor.name.endswith("bias"))
    session.plan.set([(index, index + 1)], False)
    chosen = session.plan.mask()
    path = session.save()
    assert read_config(path).rules[0].pattern == f"{DEEP}.b"
    assert Session(Options(str(checkpoint))).plan.mask() == chosen
    lines = list(show_lines(session.checkpoint, session.plan, session.architecture.label))
    assert any("frozen" in line for line in lines)


def test_the_fewest_rules_of_many_deep_names_take_no_time() -> None:
    from freezetui.checkpoint.types import TensorInfo

    names = [f"{DEEP}.{i}.{kind}" for i in range(100) for kind in ("weight", "bias")]
    tree = ParamTree([TensorInfo(name, (2,), "float32", "parameter") for name in names])
    wanted = bytes(i % 2 for i in range(200))
    started = monotonic()
    default, rules = choose_rules(tree, wanted)
    assert monotonic() - started < 10
    assert overlay(rules, tree, bytearray([default == "train"]) * 200) == wanted
    assert len(rules) == 1


async def test_at_60_by_15_the_screen_stays_whole(checkpoint: Path) -> None:
    app = FreezeTuiApp(Options(str(checkpoint)))
    async with app.run_test(size=(60, 15)) as pilot:
        await app.workers.wait_for_complete()
        assert app.main_screen is not None
        for key in ("E", "G", "f", "k", "space", "g", "pagedown", "d", "escape", "/", "b", "escape", "s"):
            await pilot.press(key)
            tree = app.main_screen.tree_view
            width = tree.scrollable_content_region.width
            lines = tree.render_lines(Region(0, 0, width, tree.size.height))
            assert {line.cell_length for line in lines} == {width}
            assert any(word in line.text for line in lines for word in ("train", "frozen", "mixed"))
        await pilot.pause()
        assert not app.main_screen.session.unsaved


def test_opening_is_quick(checkpoint: Path) -> None:
    started = monotonic()
    open_checkpoint(checkpoint)
    assert monotonic() - started < 5


@pytest.fixture
def odd(tmp_path):
    names = ["a..b.weight", ".c", "d.", "", "e.weight"]
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "odd.pth")
    return tmp_path / "odd.pth"


async def test_empty_segments_of_a_name_are_visible(opened, odd):
    async with opened(odd, size=(80, 40)) as driver:
        await driver.press("E")
        lines = driver.screen_text().splitlines()[2:]
        shown = [line for line in lines if "train" in line[:9]]
        assert len([line for line in shown if "''" in line]) == 4
        nameless = next(n for n, t in enumerate(driver.session.tree.tensors) if not t.name)
        driver.tree.go_to(driver.session.tree.position[nameless])
        await driver.pilot.pause()
        assert "''" in str(driver.main.query_one("#detail-line").text), "not the name of the model"
