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


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 4), nn.Linear(4, 2))

    def forward(self, x):
        assert self[1].weight.requires_grad
        return super().forward(x)
"""


@pytest.mark.torch
def test_reports_before_a_stage_that_fails_are_printed(tmp_path: Path, in_process: None) -> None:
    import torch
    from torch import nn

    torch.save(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).state_dict(), tmp_path / "net.pth")
    (tmp_path / "net.py").write_text(NET)
    stages = "  - {name: first, rules: [{freeze: '0'}]}\n  - {name: last, rules: [{freeze: '1'}]}\n"
    (tmp_path / "net.freeze.yaml").write_text(f"freezetui: 1\nstages:\n{stages}")
    command = (
        "check",
        "net.pth",
        "--stage",
        "all",
        "--architecture",
        "net.py:Net",
        "--report",
        "receipt.txt",
    )
    as_text, as_json = run(*command, cwd=tmp_path), run(*command, "--json", cwd=tmp_path)
    assert as_text.stdout.startswith("stage first\n✓ HELD")
    assert [report["stage"] for report in json.loads(as_json.stdout)] == ["first"]
    for done in (as_text, as_json):
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("freezetui: stage last: ")
    assert not (tmp_path / "receipt.txt").exists()


@pytest.mark.torch
def test_rules_common_to_all_stages_are_said_to_be_what_is_checked(tmp_path: Path, in_process: None) -> None:
    import torch
    from torch import nn

    torch.save(nn.Linear(4, 4).state_dict(), tmp_path / "net.pth")
    stages = "stages:\n  - {name: first, rules: [{freeze: bias}]}\n"
    (tmp_path / "net.freeze.yaml").write_text(f"freezetui: 1\n{stages}")
    common, first = (run("check", tmp_path / "net.pth", *more) for more in ((), ("--stage", "first")))
    assert "rules common to all stages; pass --stage NAME" in common.stderr
    assert "common to all stages" not in first.stderr


@pytest.mark.torch
def test_a_stage_that_apply_refuses_is_refused(tmp_path: Path, in_process: None) -> None:
    import torch
    from torch import nn

    torch.save(nn.Linear(4, 4).state_dict(), tmp_path / "net.pth")
    expect = "{frozen: {tensors: 2, elements: 20}, trainable: {tensors: 0, elements: 0}}"
    first = f"  - {{name: first, rules: [{{freeze: bias}}], expect: {expect}}}\n"
    (tmp_path / "net.freeze.yaml").write_text(f"freezetui: 1\nstages:\n{first}  - {{name: last}}\n")
    for stage in ("first", "all"):
        done = run("check", tmp_path / "net.pth", "--stage", stage)
        assert done.returncode == 2 and "does not fit: stage first: frozen: expected 2 tensors" in done.stderr
    assert run("check", tmp_path / "net.pth", "--stage", "last").returncode == 3
