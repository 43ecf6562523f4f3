"""Inside a tensor, and back at a training run: values on demand, and the comparison with --against."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

CONFIG = "freezetui: 1\nrules:\n  - freeze: stem\n  - freeze: blocks.0\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """before.pth, after.pth and a config that froze four tensors, two of which changed nevertheless."""
    names = ["stem.weight", *(f"blocks.{i}.{n}" for i in range(2) for n in ("a", "b")), "head.weight"]
    state = {name: torch.arange(12.0).view(3, 4) + 1 for name in names}
    torch.save({**state, "gone": torch.zeros(2)}, tmp_path / "before.pth")
    state["stem.weight"] = state["stem.weight"] * 0.9
    state["blocks.0.b"] = state["blocks.0.b"].clone()
    state["blocks.0.b"][1, 2] = float("nan")
    state["head.weight"] = state["head.weight"] + torch.eye(3, 4)
    torch.save({**state, "new": torch.zeros(2)}, tmp_path / "after.pth")
    (tmp_path / "after.freeze.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return Path("after.pth")


def holes(path: Path, nbytes: int) -> Path:
    """Write a safetensors file of two tensors that takes no room on the disk."""
    tensors = {"a": [0, nbytes], "b": [nbytes, nbytes + 16]}
    entries = {
        name: {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}
        for name, (start, stop) in tensors.items()
    }
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + nbytes + 16)
    return path


async def test_values_of_a_tensor(opened):
    async with opened("vgg_digits.pth") as driver:
        await driver.press("V")
        assert "move to one" in driver.notices()
        driver.go("features.0.weight")
        await driver.press("V")
        await driver.until(lambda: "norms of rows" in driver.screen_text())
        weight = torch.load(driver.session.options.source)["features.0.weight"]
        assert f"min {float(weight.min()):.4g}  max {float(weight.max()):.4g}" in driver.screen_text()
        assert f"mean {float(weight.mean()):.4g}  std {float(weight.std()):.4g}" in driver.screen_text()
        driver.go("features.0.bias")
        await driver.pilot.pause()
        assert "norms of rows" not in driver.screen_text()
        driver.go("features.0.weight")
        await driver.pilot.pause()
        assert "norms of rows" in driver.screen_text()
        await driver.press("V")
        assert "norms of rows" not in driver.screen_text()


async def test_where_there_is_no_pane_one_line_tells(opened, run):
    async with opened(run.absolute(), size=(100, 24)) as driver:
        driver.go("blocks.0.b")
        await driver.press("V")
        await driver.until(lambda: "NaN 1  Inf 0" in driver.screen_text())
        await driver.press("down")
        assert "NaN 1" not in driver.screen_text()


async def test_moving_away_discards_what_is_being_read(opened, tmp_path):
    async with opened(holes(tmp_path / "x.safetensors", 2**34)) as driver:
        driver.go("a")
        await driver.press("V")
        await driver.until(lambda: re.search(r"reading values \d+%", driver.screen_text()))
        await driver.press("down")
        assert driver.main._values.running == ""
        await driver.press("V")  # the next one is read while the first is ending
        await driver.until(lambda: "zeros 4 (100%)" in driver.screen_text())
        readers = "(_work)", "(run)"  # what the threads of a reading run; their names end with it
        await driver.until(lambda: not [t for t in threading.enumerate() if t.name.endswith(readers)], 20)
        driver.go("a")
        await driver.pilot.pause()
        assert "zeros" not in driver.screen_text() and "reading" not in driver.screen_text()


async def test_what_cannot_be_read_is_one_line(opened, tmp_path):
    torch.save({"w": torch.ones(4), "q": torch.eye(3).to_sparse()}, tmp_path / "x.pth")
    path = tmp_path / "short.pth"
    with zipfile.ZipFile(tmp_path / "x.pth") as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if not name.endswith("data/0"):
                part.writestr(name, whole.read(name))
    async with opened(path) as driver:
        driver.go("w")
        await driver.press("V")
        await driver.until(lambda: "save the file again." in driver.screen_text(), 20)
        driver.go("q")
        await driver.press("V")
        await driver.until(lambda: "cannot be read as numbers" in driver.screen_text())


async def test_against_an_earlier_checkpoint(opened, run):
    async with opened(run, size=(130, 30), against="before.pth") as driver:
        await driver.until(lambda: driver.session.comparison is not None)
        await driver.pilot.pause()
        assert "against before.pth  3 of 7 tensors changed, ✗ 2 of them frozen" in driver.screen_text()
        found = driver.session.comparison
        tensors = [tensor.name for tensor in driver.session.tree.tensors]
        relative = dict(zip(tensors, found.relative_change, strict=True))
        assert relative["blocks.1.a"] == 0.0 and relative["stem.weight"] == pytest.approx(0.1)
        assert relative["new"] != relative["new"]  # NaN: it has no size
        assert [tensors[i] for i in found.changed_frozen] == ["stem.weight", "blocks.0.b"]
        await driver.press("x")
        assert driver.session.tree.path(driver.tree.node) == "stem.weight"
        for line in ("✗ frozen, but it changed", "changed: 12 of 12 elements (100%)", "looks like decay"):
            assert line in driver.screen_text()
        await driver.press("x")
        assert driver.session.tree.path(driver.tree.node) == "blocks.0.b"
        assert "1 became NaN" in driver.screen_text()
        await driver.press("x")
        assert driver.session.tree.path(driver.tree.node) == "stem.weight"
        await driver.press("X")
        assert driver.session.tree.path(driver.tree.node) == "blocks.0.b"
        await driver.press("t", "g")
        assert "✗ 1 of them frozen" in driver.screen_text()
        assert "1 only in the earlier file: gone" in driver.screen_text()


async def test_what_is_equal_after_a_cast_has_no_change(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {"a.weight": torch.ones(4, 4), "a.bias": torch.ones(4), "b.weight": torch.ones(4)}
    torch.save(state, "before.pth")
    torch.save({name: tensor.half() for name, tensor in state.items()}, "after.pth")
    async with opened(Path("after.pth"), size=(130, 30), against="before.pth") as driver:
        await driver.until(lambda: driver.session.comparison is not None)
        driver.go("a.weight")
        await driver.pilot.pause()
        shown = driver.screen_text()
        assert "0 of 3 tensors changed" in shown and "equal after a cast" in shown
        assert shown.count(" 0% ") == 6 and "from 0" not in shown  # three tensors, two modules, the root


async def test_a_long_path_gives_way_before_what_was_found(opened, run, tmp_path):
    far = tmp_path / "a_directory_with_a_long_name" / "another" / "before.pth"
    far.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "before.pth", far)
    async with opened(run, size=(60, 15), against=str(far)) as driver:
        await driver.until(lambda: driver.session.comparison is not None)
        await driver.pilot.pause()
        assert re.search(
            r"against ….*before\.pth  ✗ 2 frozen changed \(x: next\) \(!\)", driver.screen_text()
        )


@pytest.mark.parametrize("size", [(60, 15), (170, 30)])
async def test_two_equal_files_say_that_nothing_changed(opened, run, size):
    async with opened(run, size=size, against="after.pth") as driver:
        await driver.until(lambda: driver.session.comparison is not None)
        await driver.pilot.pause()
        assert "against after.pth  nothing changed" in driver.screen_text()
        assert not driver.notices(), "it is a state"
        cells = driver.main._map._cells(size[0])
        assert {cell.text for cell in cells} == {"·"}, "there is a value everywhere: none"
        if size[0] > 160:
            assert "nothing changed: 7 tensors, identical bit for bit" in driver.screen_text()
            assert "map: change  · none" in driver.screen_text()


async def test_a_comparison_can_be_cancelled_and_quit(opened, tmp_path):
    one, other = holes(tmp_path / "a.safetensors", 2**35), holes(tmp_path / "b.safetensors", 2**35)
    for key in ("escape", "ctrl+c"):
        async with opened(one, against=str(other)) as driver:
            await driver.until(lambda: re.search(r"comparing \d+%… .Esc: cancel", driver.screen_text()))
            before = time.monotonic()
            await driver.press(key)
            if key == "escape":
                assert driver.screen_text().count("cancelled") == 1
            else:
                await driver.until(lambda: driver.app.return_code == 0)
            assert time.monotonic() - before < 10
        assert driver.session.comparison is None


async def test_why_there_is_no_comparison_and_where_a_config_is(opened, run):
    async with opened(run, size=(160, 30), against="missing.pth") as driver:
        await driver.until(lambda: "missing.pth" in driver.screen_text() and not driver.main._against.running)
        await driver.pilot.pause()
        assert "missing.pth does not exist" in driver.screen_text()
        await driver.press("x")
        assert "missing.pth does not exist" in driver.notices()
        assert "not compared" in driver.screen_text().splitlines()[0]
    save_file({"w": torch.ones(2)}, "other.safetensors")
    Path("before.freeze.yaml").write_text(CONFIG)
    async with opened(Path("other.safetensors"), against="before.pth") as driver:
        assert "Pass --config before.freeze.yaml" in driver.notices()
        await driver.until(lambda: driver.session.comparison is not None)
