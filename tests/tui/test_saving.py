"""What cannot be saved is told in the TUI, with what to do; nothing is lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


async def save_as(driver, name: str) -> None:
    await driver.press("S")
    await driver.until(lambda: "Save the freeze config as" in driver.screen_text())
    driver.app.screen.query_one("Input").value = name
    await driver.press("enter")


@pytest.mark.parametrize(
    ("name", "said"),
    [("~nosuchuser/x.yaml", "no such user"), ("x" * 300 + ".yaml", "is too long"), ("/dev/full", "end in")],
)
async def test_names_that_cannot_be_are_refused_in_the_dialog(opened, name, said):
    async with opened() as driver:
        await driver.press("f")
        await save_as(driver, name)
        await driver.until(lambda: said in driver.screen_text(), 5)
        await driver.press("escape")
        assert driver.session.unsaved


async def test_a_directory_in_the_way_is_told_and_another_name_works(opened, sample, tmp_path):
    path = sample("vgg_digits.pth")
    (tmp_path / "vgg_digits.freeze.yaml").mkdir()
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f", "s")
        await driver.until(lambda: "is a directory" in driver.notices(), 10)
        assert "another name: S" in driver.notices()
        assert driver.session.unsaved
        await save_as(driver, str(tmp_path / "other.yaml"))
        await driver.until(lambda: not driver.session.unsaved, 10)
    assert (tmp_path / "other.yaml").is_file()


async def test_a_device_gets_a_copy(opened, tmp_path):
    (tmp_path / "null.yaml").symlink_to("/dev/null")
    (tmp_path / "full.yaml").symlink_to("/dev/full")
    os.mkfifo(tmp_path / "fifo.yaml")
    async with opened() as driver:
        driver.go("features")
        await driver.press("f")
        full = "No space left on device. Save under another name: S"
        for name, said in (("null", "is not a regular file"), ("full", full), ("fifo", "Nothing reads")):
            await save_as(driver, str(tmp_path / f"{name}.yaml"))
            await driver.until(lambda said=said: said in driver.notices(), 10)
            assert driver.session.unsaved
    assert (tmp_path / "null.yaml").is_symlink()
    assert (tmp_path / "fifo.yaml").is_fifo()


async def test_a_checkpoint_that_was_replaced_is_told_before_saving(opened, sample, tmp_path):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f")
        shutil.copy(SAMPLES / "tiny_transformer.pth", path)
        await driver.press("j")
        assert "has changed since" in driver.screen_text()
        await driver.press("s")
        await driver.until(lambda: "The checkpoint has changed" in driver.screen_text(), 10)
        await driver.press("n")
        assert not (tmp_path / "vgg_digits.freeze.yaml").exists()
        await driver.press("s")
        await driver.until(lambda: "The checkpoint has changed" in driver.screen_text(), 10)
        await driver.press("y")
        await driver.until(lambda: not driver.session.unsaved, 10)
