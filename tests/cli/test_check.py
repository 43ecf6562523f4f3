"""`freezetui check`: what it says beside the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.command_line import run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.mark.torch
def test_a_stage_called_all_is_said_to_be_the_only_one_checked(tmp_path: Path) -> None:
    vgg = Path(shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path))
    stages = (
        "stages:\n  - {name: head, rules: [{freeze: features}]}\n  - {name: all, rules: [{train: '**'}]}\n"
    )
    vgg.with_suffix(".freeze.yaml").write_text(f"freezetui: 1\n{stages}")
    result = run("check", vgg, "--stage", "all", "--steps", "1", "--device", "cpu", "--json")
    assert "--stage all means the stage called all" in result.stderr
    assert json.loads(result.stdout)["stage"] == "all"
