"""examples/train_digits.py as a user runs it."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freezetui import FreezeConfig
from freezetui.checkpoint.open import open_checkpoint
from freezetui.freeze.rules import resolve
from freezetui.freeze.tree import ParamTree

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "examples" / "vgg_digits.freeze.yaml"


SCRIPT = ROOT / "examples" / "train_digits.py"


@pytest.fixture
def train_digits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the script in this process, and returns with what it exits; "" for success."""
    monkeypatch.syspath_prepend(SCRIPT.parent)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            return str(ended.code or "")
        return ""

    return run


@pytest.fixture
def write(tmp_path: Path):
    """A config for the sample, with these rules."""

    def config(rules: str) -> Path:
        path = tmp_path / "mine.freeze.yaml"
        path.write_text(
            f"freezetui: 1\nmodel: {{checkpoint: '{ROOT / 'sample_ckpts' / 'vgg_digits.pth'}'}}\n{rules}\n"
        )
        return path

    return config


def test_the_shipped_config_resolves() -> None:
    config = FreezeConfig.load(SHIPPED)
    checkpoint = open_checkpoint(str(SHIPPED.parent / config.model.checkpoint))
    tree = ParamTree(checkpoint.tensors)
    trains = resolve(config.rules, tree, config.default)
    assert {tensor.name for tensor, train in zip(tree.tensors, trains, strict=True) if train} == {
        f"classifier.{layer}.{kind}" for layer in (0, 3, 6) for kind in ("weight", "bias")
    }
    assert [stage.name for stage in config.stages] == ["classifier", "everything"]


@pytest.mark.slow
def test_each_stage_learns_and_the_first_proves_its_freeze() -> None:
    done = subprocess.run([sys.executable, SCRIPT, SHIPPED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, classifier, everything = map(float, re.findall(r"([\d.]+)%", done.stdout))
    assert before + 20 < classifier < everything - 10
    assert everything > 85
    first, second = done.stdout.split("\nstage ")[1:]
    assert "all 26 frozen tensors held, bit for bit" in first
    assert "frozen 0 tensors" in second


@pytest.mark.slow
def test_without_stages_it_trains_by_the_rules_then_everything(write, train_digits, capsys) -> None:
    assert train_digits(write("rules: [{freeze: 'features.{0..12}'}]"), "--epochs", 1) == ""
    told = capsys.readouterr().out
    assert "all 12 frozen tensors held" in told
    assert "stage everything: frozen 0 tensors" in told


def test_a_config_that_does_not_fit_is_one_line(write, train_digits, capsys) -> None:
    said = train_digits(write("rules: [{freeze: featurs}]"))
    assert re.fullmatch(r"train_digits: .*featurs.*features.*", said)
    assert capsys.readouterr().err == ""
