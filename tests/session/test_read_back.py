"""What a receipt says is taken for known only where it is about exactly what is open."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from msgspec.structs import replace

from freezetui.formatting.receipt import receipts
from freezetui.sanity.report import FrozenPart, TrainablePart
from freezetui.session.options import Options
from freezetui.session.read_back import read_back
from freezetui.session.receipt_file import write_receipt
from freezetui.session.session import Session
from support.reports import sanity_report

SAMPLE = Path(__file__).resolve().parents[2] / "sample_ckpts" / "vgg_digits.pth"
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
REPORT = sanity_report(
    verdict="moved",
    losses=(0.5, None),
    seconds=1.25,
    frozen=FrozenPart(10, 9, ("live",)),
    trainable=TrainablePart(22, 22),
    files={"live": ("features.0.weight",)},
)


def opened(path: Path) -> Session:
    return Session(Options(str(path)))


@pytest.fixture(params=["txt", "json"])
def checkpoint(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint with a config and the receipt of a check of it and of a stage."""
    path = Path(shutil.copy(SAMPLE, tmp_path / "net.pth"))
    session = opened(path)
    session.plan.replace(b"\0" * 10 + b"\1" * (len(session.tree.tensors) - 10))
    session.stages.add("all")
    session.save()
    reports = [replace(REPORT, stage=stage) for stage in (None, "all")]
    text = receipts(reports, session, request.param == "json", WHEN)
    write_receipt(tmp_path / f"any name.{request.param}", text)
    return path


def test_a_receipt_is_read_back(checkpoint: Path) -> None:
    found = read_back(opened(checkpoint))
    assert [each.report for each in found] == [replace(REPORT, stage=stage) for stage in (None, "all")]
    assert {each.when for each in found} == {"2026-05-04T03:02:01+00:00"}


def test_the_newest_receipt_counts(checkpoint: Path) -> None:
    session = opened(checkpoint)
    newer = receipts([replace(REPORT, steps=7)], session, when=WHEN)
    write_receipt(checkpoint.with_name("newer.txt"), newer)
    os.utime(checkpoint.with_name("newer.txt"), (4e9, 4e9))
    assert {each.report.stage: each.report.steps for each in read_back(session)} == {None: 7, "all": 3}


def test_nothing_is_claimed_for_what_is_not_the_same(checkpoint: Path) -> None:
    session = opened(checkpoint)
    session.stages.set(norm_statistics="update")
    assert read_back(session) == []
    session = opened(checkpoint)
    session.stages.show(None)
    session.plan.set([(0, 1)], True)
    assert None not in [each.report.stage for each in read_back(session)]
    session = opened(checkpoint)
    session.stages.rename("all", "other")
    assert [each.report.stage for each in read_back(session)] == [None]
    session = opened(checkpoint)
    named = replace(session.architecture.model, architecture="torchvision:vgg19")
    session.name_architecture(named)
    assert read_back(session) == []
    status = checkpoint.stat()
    os.utime(checkpoint, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert read_back(session) == [], "written to while it is open"
    assert read_back(opened(checkpoint)) == [], "written to before it was opened"


def test_a_damaged_or_foreign_receipt_is_ignored(checkpoint: Path) -> None:
    session = opened(checkpoint)
    path = next(checkpoint.parent.glob("any name.*"))
    whole = path.read_bytes()
    for damaged in (b"", whole[:-20], whole.replace(b'"verdict":', b'"verdit":'), whole[:40] + b"\xff" * 99):
        path.write_bytes(damaged)
        assert [each.report.stage for each in read_back(session)] in ([], [None])
    path.unlink()
    path.symlink_to("/dev/zero")
    os.mkfifo(checkpoint.with_name("pipe.json"))
    (checkpoint.parent / "list.json").write_text(json.dumps([1, {"freezetui_receipt": 1}]))
    assert read_back(session) == []
