"""The panel opens at the reason, and every line of a proof can be reached, on every screen."""

from __future__ import annotations

import re

import msgspec
import pytest
from rich.text import Text

from freezetui.formatting.report import deciding
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Cost, FrozenPart
from freezetui.tui.units import JOINT, with_units
from support.reports import HELD, answer_with

DROPOUT = finding("dropout", ["features.3.weight"])
MOVED = msgspec.structs.replace(
    HELD,
    verdict="moved",
    device="cpu in bfloat16",
    frozen=FrozenPart(26, 25, ("features.0.weight",)),
    findings=(DROPOUT, finding("max_norm", ["features.0.weight"])),
)
CRASHED = msgspec.structs.replace(
    HELD,
    verdict="inconclusive",
    forward=False,
    cost=None,
    findings=(DROPOUT, finding("no_input", reason="RuntimeError: boom in forward", suggestion="")),
)


def test_the_finding_that_decides_is_the_reason_that_is_named_else_the_gravest():
    assert deciding(MOVED) is MOVED.findings[1]
    assert deciding(CRASHED) is CRASHED.findings[1]
    assert deciding(msgspec.structs.replace(HELD, findings=(DROPOUT,))) is DROPOUT
    assert deciding(HELD) is None


@pytest.mark.parametrize("size", [(60, 15), (60, 24), (80, 24), (100, 20), (120, 40)], ids=str)
async def test_the_panel_opens_at_the_reason_and_every_line_can_be_reached(opened, size, monkeypatch):
    answer_with([MOVED, CRASHED], monkeypatch)
    async with opened(size=size) as driver:
        driver.go("features")
        await driver.press("f")
        for verdict, reason in (("moved", "M5"), ("inconclusive", "boom in forward")):
            await driver.press("r")
            await driver.until(lambda v=verdict: v in str(driver.main.query_one("#totals").render()))
            await driver.until(lambda v=verdict: v.upper() in driver.screen_text())
            assert reason in driver.screen_text()
            assert driver.main.query_one("#check-headline").size.height <= 2
            await driver.press("tab", "home")
            seen = driver.screen_text()
            for _ in range(driver.main.query_one("#check-findings").option_count):
                await driver.press("down")
                seen += driver.screen_text()
            for text in ("Frozen: ", "M5" if verdict == "moved" else "N1", "fix: ", "3 steps on cpu"):
                assert text in seen, (text, driver.screen_text())
            assert "Save the receipt" in seen and "R close" in driver.screen_text()
            await driver.press("tab")


async def test_how_each_stage_ended_is_said_by_its_name_and_progress_takes_one_line(opened, sample):
    path = sample("vgg_digits.pth")
    own = {"head": "classifier", "a-very-long-name-of-a-stage": "features.0", "all": "'**'"}
    stages = "".join(f"  - {{name: {name}, rules: [{{train: {rule}}}]}}\n" for name, rule in own.items())
    text = f"freezetui: 1\nrules:\n  - freeze: features\nstages:\n{stages}"
    path.with_name("vgg_digits.freeze.yaml").write_text(text)
    async with opened(path, size=(80, 24)) as driver:
        totals, session = driver.main.query_one("#totals"), driver.session
        session.stages.next(-1)
        session.checks.store(
            msgspec.structs.replace(HELD, stage="head"), session.plan.mask(), session.stages.settings
        )
        driver.main.refresh_session()
        await driver.pilot.pause()
        assert "stage 1 ✓, stage 2 –, stage 3 –" in str(totals.render())
        await driver.press("R")
        headline = driver.main.query_one("#check-headline")
        for told in ("a-very-long-name-of-a-stage, 2 of 3: step 1 of 3 with everything trainable", "compare"):
            headline.say(Text(f" check: {told}"), one_line=True)
            await driver.pilot.pause()
            assert headline.size.height == 1


async def test_numbers_keep_their_units_at_every_width(opened, monkeypatch):
    long = msgspec.structs.replace(HELD, seconds=23.0, cost=Cost(1.5, 3.0, 7_000_000, 90_000_000))
    answer_with([long], monkeypatch)
    broken = []
    async with opened(size=(100, 30)) as driver:
        driver.go("features")
        await driver.press("f", "r")
        await driver.until(lambda: driver.session.report is not None and not driver.main._panel.running)
        headline, findings = (driver.main.query_one(f"#check-{id}") for id in ("headline", "findings"))
        told = [str(line.text) for line in driver.main._panel._lines]
        for width in range(60, 100, 3):
            await driver.pilot.resize_terminal(width, 30)
            findings.show([Text(f"{'x' * (width - 40)} {line} 23 s 1.5 MiB") for line in told], 0)
            await driver.pilot.pause()
            text = driver.screen_text()
            assert "\u2800" not in text
            broken += re.findall(r"\d *\n *(?:s|[KMG]iB)\b", text)
        headline.say(Text(f" check: {'x' * (headline.size.width - 15)} took 23 s"))
        await driver.pilot.pause()
        assert "\n23 s" in driver.screen_text().replace("\n ", "\n"), "the line is broken before the number"
    assert not broken


def test_what_keeps_together_is_as_long_as_before():
    text = Text.assemble(("took 23 s", "bold"), ", 3 min 5 s, 1.5 MiB of 138.36 M, 12 steps, 4 bytes")
    joined = with_units(text)
    assert joined.plain.replace(JOINT, " ") == text.plain and joined.spans == text.spans
    assert joined.plain.count(JOINT) == 5 and f"23{JOINT}s" in joined.plain
