"""The panel of the check: stages in turn, what was proven, fixes as code, opened and closed by a key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from freezetui.sanity.codes import finding
from freezetui.sanity.log_lines import telling
from freezetui.sanity.protocol import CheckRequest
from freezetui.sanity.report import FrozenPart, SanityReport
from freezetui.tui.check_marks import outcome_of
from freezetui.tui.contrast import contrast
from support.reports import HELD, answer_with

BARE = msgspec.structs.replace(
    HELD,
    verdict="inconclusive",
    forward=False,
    cost=None,
    findings=(finding("no_input", reason="no input is known", suggestion=""),),
)


@pytest.fixture
def answers(monkeypatch):
    """What the engine reports in turn; the requests that it got are kept."""
    reports: list[SanityReport] = []
    requests: list[CheckRequest] = []

    answer_with(reports, monkeypatch, requests)
    return reports, requests


async def checked(driver, key: str = "r") -> None:
    await driver.press(key)
    await driver.until(lambda: driver.session.report is not None and not driver.main._panel.running)
    await driver.pilot.pause(0.1)


async def test_an_inconclusive_check_paints_no_check_mark(opened, answers):
    answers[0].append(BARE)
    async with opened(size=(140, 40)) as driver:
        driver.go("features")
        await driver.press("f")
        await checked(driver)
        text = driver.screen_text()
        assert "INCONCLUSIVE" in text and "✓" not in text
        assert "frozen ?" in text
        (line,) = outcome_of(driver.session, "features.0.weight")
        assert line == "last check: unchanged, but nothing is proven: there was no forward pass"


async def test_after_held_tab_and_enter_lead_to_a_tensor_and_the_panel_closes_and_opens(opened, answers):
    answers[0].append(HELD)
    async with opened() as driver:
        driver.go("features")
        await driver.press("f")
        await checked(driver)
        assert "Frozen: 26 tensors identical, bit for bit" in driver.screen_text()
        await driver.press("tab", "enter")
        assert driver.tree.has_focus
        assert driver.session.tree.path(driver.tree.node) == "features.0.weight"
        await driver.press("escape")
        assert "HELD" not in driver.screen_text()
        await driver.press("R")
        assert "HELD: 26 frozen tensors" in driver.screen_text()
        await driver.press("tab", "up", "enter")  # from the first line to the last
        assert "Save the receipt as" in driver.screen_text()
        await driver.press("enter")
        (receipt,) = Path(driver.session.options.source).parent.glob("*.receipt.txt")
        assert receipt.read_text().startswith("freezetui receipt")
        await driver.press("R")
        assert "HELD" not in driver.screen_text()


async def test_a_saved_receipt_is_known_when_the_checkpoint_is_opened_again(opened, answers, sample):
    answers[0].append(HELD)
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f", "s")
        await driver.until(lambda: driver.session.saved_here)
        await driver.press("escape")
        await checked(driver)
        await driver.press("tab", "end", "enter", "enter")
        await driver.until(lambda: list(path.parent.glob("*.receipt.txt")))
    async with opened(path) as driver:
        assert not driver.main.query_one("#check").display
        await driver.until(lambda: driver.session.report is not None, 10)
        await driver.pilot.pause()
        assert "last check: held as of 20" in driver.screen_text()
        assert "frozen ✓" in driver.screen_text()
        assert outcome_of(driver.session, "features.0.weight")[0].startswith("last check (as of 20")
        await driver.press("R")
        assert "check: as of 20" in driver.screen_text() and "HELD: 26 frozen" in driver.screen_text()
    path.write_bytes(path.read_bytes())
    async with opened(path) as driver:
        await driver.pilot.pause(1)
        assert driver.session.report is None
        assert "not checked" in driver.screen_text() and "✓" not in driver.screen_text()


async def test_each_stage_is_checked_in_turn_and_keeps_its_own_result(opened, answers):
    reports, requests = answers
    reports += [HELD, BARE]
    async with opened() as driver:
        driver.go("features")
        await driver.press("f", "plus", "enter", "plus", "enter")
        driver.go("")
        await driver.press("t")
        await checked(driver)
        assert [request.stage for request in requests] == ["classifier", "everything"]
        text = driver.screen_text()
        assert "everything: ? INCONCLUSIVE" in text
        assert "1 classifier ✓" in text and "2 everything ?" in text
        await driver.press("left_square_bracket")
        assert "classifier: ✓ HELD" in driver.screen_text()
        await driver.press("a")
        text = driver.screen_text()
        assert "out of date: " in text and "1 classifier ✓" not in text and "2 everything ?" in text


async def test_a_fix_is_shown_as_code_and_copied(opened, answers):
    moved = msgspec.structs.replace(
        HELD,
        verdict="moved",
        frozen=FrozenPart(26, 25, ("features.0.weight",)),
        findings=(finding("max_norm", ["features.0.weight"]),),
    )
    answers[0].append(moved)
    async with opened() as driver:
        driver.go("features")
        await driver.press("f")
        await checked(driver)
        fix = "model.get_submodule('features.0').max_norm = None"
        assert fix in driver.screen_text()
        await driver.press("tab", "y")
        assert driver.app.clipboard == fix
        assert f"sent to the terminal's clipboard: {fix}" in driver.notices()
        assert driver.session.tree.first[driver.session.tree.find("features.0.weight")] == 0
        assert driver.tree.marks[0] == max(driver.tree.marks)


async def test_a_click_on_a_tab_shows_its_stage(opened, answers):
    async with opened() as driver:
        driver.go("features")
        await driver.press("f", "plus", "enter", "plus", "enter")
        assert driver.session.stages.shown == "everything"
        header = driver.screen_text().splitlines()[0]
        await driver.pilot.click("#header", offset=(header.index("classifier") + 1, 0))
        await driver.pilot.pause()
        assert driver.session.stages.shown == "classifier"


async def test_the_finding_that_tab_leads_to_is_wholly_in_view_and_down_ends_at_the_end(opened, answers):
    known = [finding("dropout", [f"features.{n}.weight"]) for n in (0, 3, 7, 10)]
    answers[0].append(msgspec.structs.replace(HELD, findings=tuple(known)))
    async with opened(size=(80, 24)) as driver:
        await driver.press("j", "f")
        await checked(driver)
        await driver.press("tab")
        await driver.pilot.pause()
        text = driver.screen_text()
        assert "features.0.weight" in text and "fix: set frozen_modules: eval" in text
        await driver.press("end", "down")
        findings = driver.main.query_one("#check-findings")
        assert findings.highlighted == findings.option_count - 1
        footer = driver.screen_text().splitlines()[-1]
        assert "save the receipt" in footer and "copy the fix" not in footer
        await driver.press("up", "up", "up")
        footer = driver.screen_text().splitlines()[-1]
        assert "copy the fix" in footer and "go to tensor" in footer


def test_remarks_of_torch_and_warnings_are_not_shown_as_the_reason_of_a_failure():
    log = [
        "W1127 02:37:11.123456 4242 torch/utils/_pytree.py:630] <enum 'KernelPreference'> is registered",
        "[rank0]:[W1127 02:37:11.1 ProcessGroup.cpp:1] Warning: no destroy",
        "[W1127 02:37:11.1 init.cpp:1] Warning: slow",
        "/x/y.py:12: UserWarning: The given NumPy array is not writable",
        "  warnings.warn(",
        "E1127 02:37:11 torch/x.py:1] out of memory",
        "Traceback (most recent call last):",
        '  File "m.py", line 3, in forward',
        "RuntimeError: mat1 and mat2",
    ]
    assert telling(log) == log[5:]
    assert telling([log[0]] * 50) == []
    assert len(telling([f"line {n}" for n in range(50)])) == 12


def test_the_log_of_a_crash_is_where_it_happened():
    frames = [f'  File "/x/{n}.py", line 1 in f' for n in range(30)]
    log = ["before", "Fatal Python error: Segmentation fault", "", "Thread 0x1 (most recent call first):"]
    log += [
        '  File "/x/other.py", line 1 in run',
        "",
        "Current thread 0x2 (most recent call first):",
        *frames,
    ]
    log += ["", "Extension modules: torch._C (total: 1)"]
    assert telling(log) == ["Traceback (most recent call last):", *reversed(frames[:11])]


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "solarized-light"])
async def test_the_verdict_can_be_read_in_every_theme(opened, theme):
    async with opened(size=(100, 30)) as driver:
        driver.app.theme = theme
        await driver.press("R")
        for verdict in ("held", "moved", "inconclusive"):
            driver.session.checked(msgspec.structs.replace(HELD, verdict=verdict), driver.session.plan.mask())
            driver.main.refresh_session()
            await driver.pilot.pause()
            segments = [s for strip in driver.app.screen._compositor.render_strips() for s in strip]
            (style,) = {s.style for s in segments if verdict.upper() in s.text}
            assert contrast(style.color.triplet, style.bgcolor.triplet) >= 4.5
            assert style.color.triplet != style.bgcolor.triplet
