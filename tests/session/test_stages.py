"""Stages are planned, saved and checked apart from the common rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui.config.codec import read_config
from freezetui.errors import ConfigError
from freezetui.freeze.rules import Rule
from freezetui.session.options import Options
from freezetui.session.session import Session
from support.command_line import run

FEATURES = (Rule("freeze", "0"),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    torch.save(model.state_dict(), tmp_path / "net.pth")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))\n"
    )
    (tmp_path / "net.freeze.yaml").write_text(
        "freezetui: 1\n"
        "rules:\n"
        "  - freeze: '0'  # the features\n"
        "stages:\n"
        "  - {name: head, epochs: 2}\n"
        "  - name: everything\n"
        "    rules:\n"
        "      - train: '**'\n"
    )
    return tmp_path / "net.pth"


def test_editing_a_stage_leaves_the_common_rules_and_the_others_alone(path: Path) -> None:
    session = Session(Options(str(path)))
    assert session.stages.names == ("head", "everything")
    session.stages.show("head")
    session.plan.set([(0, 6)], True)  # one key on the root
    assert session.unsaved
    session.save()
    config = read_config(session.config_path)
    assert config.rules == FEATURES
    assert config.stage("head").rules == (Rule("train", "**"),)
    assert config.stage("head").epochs == 2
    assert config.stage("everything").rules == (Rule("train", "**"),)
    assert "# the features" in session.config_path.read_text()
    again = Session(Options(str(path), stage="head"))
    assert again.plan.mask() == b"\1" * 6 and not again.unsaved


def test_what_a_stage_must_freeze_is_recorded(path: Path) -> None:
    session = Session(Options(str(path), stage="everything"))
    session.plan.set([(2, 4)], False)
    session.save()
    stage = read_config(session.config_path).stage("everything")
    assert stage.rules == (Rule("train", "**"), Rule("freeze", "1"))
    assert stage.expect is not None and (stage.expect.frozen.tensors, stage.expect.trainable) == (2, None)
    assert stage.expect.frozen.fingerprint.startswith("sha256:")


def test_stages_in_turn_and_a_new_one(path: Path) -> None:
    session = Session(Options(str(path)))
    assert [session.stages.next(1) for _ in range(4)] == ["head", "everything", None, "head"]
    assert [session.stages.next(-1) for _ in range(2)] == [None, "everything"]
    session.stages.add("last")
    assert session.plan.mask() == b"\0\0" + b"\1" * 4 and session.unsaved
    session.save()
    assert [stage.name for stage in read_config(session.config_path).stages] == ["head", "everything", "last"]
    assert not session.unsaved


def test_a_stage_that_does_not_exist(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stage 'body'\. Stages: head, everything\."):
        Session(Options(str(path), stage="body"))


def test_plan_writes_the_rules_of_a_stage_as_given(path: Path) -> None:
    done = run("plan", path, "--stage", "warm", "--train", "**", "--freeze", "2.bias")
    assert done.returncode == 0, done.stderr
    config = read_config(path.with_name("net.freeze.yaml"))
    assert config.rules == FEATURES
    assert config.stage("warm").rules == (Rule("train", "**"), Rule("freeze", "2.bias"))
    refused = run("plan", path, "--stage", "warm", "--default", "freeze")
    assert refused.returncode == 2 and "pass --default without --stage" in refused.stderr
    shown = run("show", path, "--stage", "warm", "--json")
    assert {t["name"] for t in json.loads(shown.stdout)["tensors"] if t["frozen"]} == {"2.bias"}


@pytest.mark.torch
@pytest.mark.slow
def test_check_takes_one_stage_or_each_in_turn(path: Path, in_process: None) -> None:
    model = (
        "--architecture",
        f"{path.with_name('net.py')}:build",
        "--input",
        "3",
        "--device",
        "cpu",
        "--json",
    )
    one = run("check", path, "--stage", "head", *model)
    assert one.returncode == 0, one.stderr
    report = json.loads(one.stdout)
    assert (report["stage"], report["verdict"], report["frozen"]["tensors"]) == ("head", "held", 2)
    each = run("check", path, "--stage", "all", *model)
    assert each.returncode == 3  # everything trains in the second: nothing to prove
    assert [(r["stage"], r["verdict"]) for r in json.loads(each.stdout)] == [
        ("head", "held"),
        ("everything", "inconclusive"),
    ]
    wrong = run("check", path, "--stage", "body", *model)
    assert wrong.returncode == 2 and "no stage 'body'" in wrong.stderr
