"""Formats the report of a check."""

from __future__ import annotations

from collections.abc import Iterator

from freezetui import numbers
from freezetui.formatting.fixes import fix_code
from freezetui.formatting.sentences import sentences as sentences
from freezetui.sanity.report import Finding, SanityReport, Verdict
from freezetui.text import listed, printable

_SIGNS = {"error": "✗", "warning": "!", "note": "·"}

#: Keys of findings, and why a check is inconclusive with one of them; if several apply, the first is shown.
_REASONS = (
    (("unfrozen_by_model", "frozen_by_model"), "the model's own code sets requires_grad"),
    (("vanished",), "a frozen tensor is gone after the steps"),
    (("none_frozen",), "nothing is frozen"),
    (("all_frozen",), "everything is frozen"),
    (("untrainable",), "no tensor is trainable"),
    (("no_input", "no_model"), "no forward pass"),
    (("not_finite", "not_finite_weight", "not_finite_output"), "the loss is not a finite number"),
    (("none_changed",), "no trainable tensor was changed by a gradient"),
    (("unproven",), "no frozen tensor changes when trainable either"),
)


def headline(report: SanityReport) -> str:
    """Return the verdict in a few words."""
    frozen = report.frozen
    found = {finding.key for finding in report.findings}
    reason = next((reason for keys, reason in _REASONS if not found.isdisjoint(keys)), "")
    return verdict_line(report.verdict, frozen.tensors, len(frozen.moved), reason)


def verdict_line(verdict: Verdict, frozen: int, moved: int, reason: str) -> str:
    """Return the verdict in a few words.

    Args:
        frozen: number of frozen tensors; moved: how many of them changed.
        reason: why it is inconclusive.
    """
    if verdict == "moved":
        return f"✗ MOVED: {numbers.plural(moved, 'frozen tensor')} changed"
    if verdict == "held":
        return f"✓ HELD: {numbers.plural(frozen, 'frozen tensor')} unchanged, bit for bit"
    return f"? INCONCLUSIVE: {reason}" if reason else "? INCONCLUSIVE"


def cost(report: SanityReport) -> list[str]:
    """Return where the check ran, what the plan saves, and how long it took."""
    modes = f", {report.modes}" if report.modes else ""
    parts = [f"{numbers.plural(report.steps, 'step')} on {report.device}{modes}"]
    if report.cost is not None and report.cost.control_step_seconds and report.cost.control_memory_bytes:
        time = report.cost.step_seconds / report.cost.control_step_seconds
        memory = report.cost.memory_bytes / report.cost.control_memory_bytes
        # A step that trains less is not slower: more than 100% means that the machine was busy.
        parts.append(
            f"{numbers.percent(time)} of the step time, "
            f"{numbers.percent(memory)} of the memory vs. full training"
        )
    return [*parts, numbers.duration(report.seconds)]


def finding_text(finding: Finding) -> str:
    """Return a finding in one or two lines."""
    names = listed(finding.tensors, most=3, longest=None)
    first = f"{_SIGNS[finding.severity]} {finding.code}  {finding.message}"
    fix = f"\n      fix: {printable(finding.fix)}" if finding.fix else ""
    return printable(f"{first}{f'  [{names}]' if names else ''}") + fix


def report_lines(report: SanityReport) -> Iterator[str]:
    """Yield the whole report: the verdict, what it rests on, the findings with their fixes, the cost."""
    yield headline(report)
    for sentence in sentences(report):
        yield f"  {sentence}"
    for finding in report.findings:
        yield finding_text(finding)
        for line in fix_code(finding, report.own):
            yield printable(f"        {line}")
    model = report.architecture or "no architecture"
    shape = f", input {numbers.shape(report.input)}" if report.input else ""
    yield printable(f"model: {model}{shape}") + ("" if report.forward else "; no forward pass")
    yield f"cost: {'; '.join(cost(report))}"
