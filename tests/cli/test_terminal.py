"""The real program in a real pseudo-terminal, from opening to the file on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freezetui.config.codec import read_config
from support.pseudo_terminal import Terminal

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.mark.slow
@pytest.mark.torch
def test_open_freeze_check_save_quit(tmp_path):
    path = Path(shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path))
    before = path.read_bytes()
    terminal = Terminal(str(path), "--device", "cpu")
    terminal.wait_for("classifier")
    terminal.child.send("j")
    terminal.child.send("f")
    terminal.wait_for("■ frozen 154.69 K (40%)")
    terminal.child.send("r")
    terminal.wait_for("HELD: 26 frozen tensors unchanged, bit for bit", 120)
    terminal.child.send("s")
    terminal.wait_for("26 tensors frozen, 6 to train")
    terminal.child.send("q")
    assert terminal.exit_code() == 0

    config = read_config(tmp_path / "vgg_digits.freeze.yaml")
    assert [(rule.action, rule.pattern) for rule in config.rules] == [("freeze", "features")]
    assert config.expect is not None and config.expect.frozen.tensors == 26
    assert path.read_bytes() == before


def test_a_file_that_is_no_checkpoint_leaves_one_line_and_exit_code_2(tmp_path):
    path = tmp_path / "page.pth"
    path.write_text("<!doctype html><p>Not found")
    terminal = Terminal(str(path))
    terminal.child.expect("is a web page.*\r\n")
    assert terminal.exit_code() == 2


def test_no_color_is_honored_and_small_terminals_work(tmp_path):
    path = Path(shutil.copy(SAMPLES / "shufflenet_digits.safetensors", tmp_path))
    terminal = Terminal(str(path), columns=60, lines=15, NO_COLOR="1")
    terminal.wait_for("conv1")
    terminal.wait_for("trainable")
    colors = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
    grays = {c for c in colors if c == "default" or c[0:2] == c[2:4] == c[4:6]}
    assert colors == grays
    terminal.child.send("q")
    assert terminal.exit_code() == 0


def test_a_dumb_terminal_gets_plain_lines(tmp_path):
    path = Path(shutil.copy(SAMPLES / "shufflenet_digits.safetensors", tmp_path))
    terminal = Terminal(str(path), TERM="dumb")
    terminal.wait_for("buffers")
    assert terminal.exit_code() == 0
    assert b"\x1b" not in terminal.written


def test_signs_are_drawn_whatever_the_locale_says(tmp_path):
    path = Path(shutil.copy(SAMPLES / "shufflenet_digits.safetensors", tmp_path))
    terminal = Terminal(str(path), PYTHONIOENCODING="ascii")
    terminal.wait_for("○ train")
    terminal.child.send("q")
    assert terminal.exit_code() == 0
