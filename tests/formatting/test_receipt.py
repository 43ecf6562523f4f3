"""The receipt of a check, as text and as JSON, and where it may be written."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from freezetui.cli.check import check
from freezetui.errors import ConfigError, FreezeTuiError
from freezetui.formatting.receipt import receipt, receipts
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Cost, FrozenPart
from freezetui.sanity.training import Training
from freezetui.session.options import Options
from freezetui.session.receipt_file import receipt_path, write_receipt
from freezetui.session.session import Session
from support.reports import sanity_report

SAMPLE = Path(__file__).resolve().parents[2] / "sample_ckpts" / "vgg_digits.pth"
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
REPORT = sanity_report(
    verdict="moved",
    device="cuda:0",
    losses=(0.5,),
    seconds=1.23456,
    frozen=FrozenPart(2, 1, ("live.weight",)),
    findings=(finding("max_norm", ("live.weight",)),),
    cost=Cost(0.1, 0.2, 1, 2),
    input=(3, 64, 64),
    files={"live.weight": ("file\x1b.weight",)},
    environment={"python": "3.12.1", "torch": "2.9.0", "torchvision": "0.24.0"},
)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    shutil.copy(SAMPLE, tmp_path / "net.pth")
    session = Session(Options(str(tmp_path / "net.pth"), training=Training(lr=1e-5)))
    session.plan.replace(b"\0" * 10 + b"\1" * (len(session.tree.tensors) - 10))
    return session


def test_a_receipt_says_what_was_checked_where_and_what_was_found(session: Session) -> None:
    session.save()
    told = json.loads(receipt(REPORT, session, as_json=True, when=WHEN))
    assert (told["freezetui_receipt"], told["date"]) == (1, "2026-05-04T03:02:01+00:00")
    assert (told["verdict"], told["headline"]) == ("moved", "MOVED: 1 frozen tensor changed")
    assert told["sentences"][0].startswith("Frozen: 1 of 2 tensors changed: file")
    assert told["findings"][0]["tensors"] == ["file\x1b.weight"]
    assert told["findings"][0]["code_to_fix"] == ["model.get_submodule('live').max_norm = None"]
    config = session.config
    assert config is not None
    assert told["checkpoint"]["fingerprint"] == config.model.fingerprint
    assert told["config"]["saved"] is True
    assert told["config"]["sha256"] == sha256(session.config_path.read_bytes()).hexdigest()
    assert told["config"]["rules"] == [{rule.action: rule.pattern} for rule in config.rules]
    assert told["config"]["expect"]["frozen"]["tensors"] == 10
    assert told["run"] == {
        "steps": 3,
        "device": "cuda:0",
        "modes": "",
        "seconds": 1.235,
        "forward": True,
        "input": [3, 64, 64],
        "training": {"lr": 1e-05},
    }
    assert told["environment"] == {"freezetui": "0.1.0", **REPORT.environment}
    assert told["frozen"]["moved"] == ["file\x1b.weight"]


def test_the_text_has_the_fields_and_no_control_character(session: Session) -> None:
    text = receipt(REPORT, session, when=WHEN)
    assert text.startswith(
        "freezetui receipt 1, 2026-05-04T03:02:01+00:00\n\nMOVED: 1 frozen tensor changed\n"
    )
    assert "\x1b" not in text and "\\x1b.weight" in text
    told = json.loads(receipt(REPORT, session, as_json=True, when=WHEN))
    for value in (
        *told["environment"].values(),
        told["checkpoint"]["fingerprint"],
        told["config"]["sha256"],
        *told["sentences"],
        told["findings"][0]["message"],
        "lr: 1e-05",
        "saved: False",
    ):
        assert value in text


def test_several_stages_are_a_list(session: Session) -> None:
    session.stages.add("all")
    reports = [replace(REPORT, stage=stage) for stage in (None, "all")]
    told = json.loads(receipts(reports, session, as_json=True, when=WHEN))
    assert [each["stage"] for each in told] == [None, "all"]
    assert receipts(reports, session, when=WHEN).count("freezetui receipt 1") == 2
    assert "(stage all)" in receipts(reports, session, when=WHEN)


def test_a_receipt_never_takes_the_place_of_another_file(session: Session, tmp_path: Path) -> None:
    session.save()
    (tmp_path / "train.py").write_text("print()")
    (tmp_path / "link.txt").symlink_to(tmp_path / "net.pth")
    refused = {
        "net.pth": "is the checkpoint",
        "link.txt": "is the checkpoint",
        "net.freeze.yaml": "is the config",
        "train.py": "exists and is not a receipt",
        "no/where.txt": "No such directory",
        ".": "is a directory",
        "x" * 300: "is too long",
    }
    for name, words in refused.items():
        with pytest.raises(ConfigError, match=words):
            receipt_path(session, str(tmp_path / name))
    for name, as_json in (("receipt.txt", False), ("receipt.json", True)):
        for _ in range(2):  # the second takes the place of the first
            path = receipt_path(session, str(tmp_path / name))
            write_receipt(path, receipts([REPORT, REPORT], session, as_json))
    assert (tmp_path / "train.py").read_text() == "print()"


def test_the_command_refuses_before_the_check(session: Session, tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "net.pth")
    before = Path(checkpoint).read_bytes()
    result = CliRunner().invoke(check, [checkpoint, "--report", checkpoint])
    assert isinstance(result.exception, FreezeTuiError) and "is the checkpoint" in str(result.exception)
    assert Path(checkpoint).read_bytes() == before
