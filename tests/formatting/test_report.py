"""A report as text: the headline says the verdict, and why there is none."""

from __future__ import annotations

from string import Formatter

import pytest

from freezetui.formatting.report import finding_text, headline
from freezetui.sanity.codes import CODES, finding
from freezetui.sanity.report import BufferPart, FrozenPart, SanityReport, TrainablePart, Verdict


def report(verdict: Verdict, *keys: str, moved: tuple[str, ...] = ()) -> SanityReport:
    templates = " ".join(CODES[key].message + CODES[key].fix for key in keys)
    values = dict.fromkeys((name for _, name, _, _ in Formatter().parse(templates) if name), "a")
    return SanityReport(
        verdict=verdict,
        architecture="",
        device="cpu",
        steps=3,
        forward=True,
        losses=(),
        seconds=1.0,
        frozen=FrozenPart(2, 2 - len(moved), moved),
        trainable=TrainablePart(1, 1),
        buffers=BufferPart(0, 0),
        findings=tuple(finding(key, **values) for key in keys),
    )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["unproven", "no_model"], "no forward pass"),
        (["no_input", "none_frozen"], "nothing is frozen"),
        (["all_frozen", "no_model"], "everything is frozen"),
        (["unproven"], "no frozen tensor changes when trainable either"),
    ],
)
def test_an_inconclusive_check_says_why(keys, reason):
    assert headline(report("inconclusive", *keys)) == f"? INCONCLUSIVE: {reason}"


def test_no_reason_is_made_up():
    assert headline(report("inconclusive", "batch_norm", "misspelled_flag")) == "? INCONCLUSIVE"


def test_other_verdicts_count():
    assert headline(report("held", "unproven")) == "✓ HELD: 2 frozen tensors unchanged, bit for bit"
    assert headline(report("moved", "max_norm", moved=("a",))) == "✗ MOVED: 1 frozen tensor changed"


def test_a_finding_without_a_fix_is_one_line():
    assert "fix" not in finding_text(finding("untrainable"))
    assert finding_text(finding("all_frozen")).splitlines()[1] == "      fix: unfreeze something"


def test_every_finding_can_be_shown():
    for key, entry in CODES.items():
        if entry.severity is not None:
            assert entry.code in finding_text(report("held", key).findings[0])
