"""Formats the report of a check."""

from __future__ import annotations

from collections.abc import Iterator

from freezetui import numbers
from freezetui.formatting.fixes import fix_code
from freezetui.formatting.sentences import InFile, frozen_tensors
from freezetui.formatting.sentences import sentences as sentences
from freezetui.sanity.report import Finding, SanityReport, Verdict
from freezetui.text import listed, printable

_SIGNS = {"error": "✗", "warning": "!", "note": "·"}

#: Keys of findings, and why a check is inconclusive with one of them; if several apply, the first is shown.
_REASONS = (
    (("unfrozen_by_model", "frozen_by_model"), "the model's own code sets requires_grad"),
    (("unfrozen_in_step", "frozen_in_step"), "your own step, or the model, sets requires_grad"),
    (("vanished",), "a frozen tensor is gone after the steps"),
    (("not_finite", "not_finite_weight", "not_finite_output"), "the loss is not a finite number"),
    (("none_frozen",), "nothing is frozen"),
    (("all_frozen",), "everything is frozen"),
    (("untrainable",), "no tensor is trainable"),
    (("no_input", "no_model"), "no forward pass"),
    (("none_changed",), "no trainable tensor was changed by a gradient"),
    (("unproven",), "no frozen tensor changes when trainable either"),
    (("nothing_to_hold",), "this stage freezes nothing"),
)


def headline(report: SanityReport, stored: InFile | None = None) -> str:
    """Return the verdict in a few words.

    Args:
        stored: what the checkpoint has of what was checked, if that is to be told.
    """
    frozen = report.frozen
    found = {finding.key for finding in report.findings}
    if report.nothing_to_hold:
        part = report.trainable
        return nothing_to_hold(part.moved, part.tensors)
    reason = next((reason for keys, reason in _REASONS if not found.isdisjoint(keys)), "")
    changed = len(report.changed_of_frozen)
    told = frozen_tensors(frozen.tensors, stored)
    return verdict_line(report.verdict, frozen.tensors, len(frozen.moved), reason, changed, told)


def deciding(report: SanityReport) -> Finding | None:
    """Return the finding that the verdict rests on: the reason that is named, else the gravest."""
    found = {finding.key: finding for finding in reversed(report.findings)}
    if report.verdict == "inconclusive":
        for keys, _ in _REASONS:
            for key in keys:
                if key in found:
                    return found[key]
    return min(report.findings, key=lambda finding: list(_SIGNS).index(finding.severity), default=None)


def verdict_line(
    verdict: Verdict, frozen: int, moved: int, reason: str, buffers: int = 0, told: str = ""
) -> str:
    """Return the verdict in a few words.

    Args:
        frozen: number of frozen tensors; moved: how many of them changed.
        reason: why it is inconclusive.
        buffers: how many buffers of frozen modules changed.
        told: the number of frozen tensors in other words.
    """
    if verdict == "moved" and not moved and buffers:
        return f"✗ MOVED: {numbers.plural(buffers, 'buffer')} of frozen modules changed"
    if verdict == "moved":
        return f"✗ MOVED: {numbers.plural(moved, 'frozen tensor')} changed"
    if verdict == "held":
        held = f"✓ HELD: {told or numbers.plural(frozen, 'frozen tensor')} unchanged, bit for bit"
        return (
            f"{held}, but {numbers.plural(buffers, 'buffer')} of frozen modules changed" if buffers else held
        )
    return f"? INCONCLUSIVE: {reason}" if reason else "? INCONCLUSIVE"


def nothing_to_hold(changed: int, trainable: int) -> str:
    """Return the verdict of a stage that freezes nothing, which is inconclusive, and no failure."""
    whole = numbers.plural(trainable, "trainable tensor")
    return f"○ NOTHING TO HOLD: this stage freezes nothing; {changed:,} of {whole} changed"


def cost(report: SanityReport) -> list[str]:
    """Return where the check ran, what the plan saves, and how long it took."""
    modes = f", {report.modes}" if report.modes else ""
    parts = [f"{numbers.plural(report.steps, 'step')} on {report.device}{modes}"]
    if report.cost is not None and report.cost.control_memory_bytes:
        share = report.cost.step_share
        time = "" if share is None else f"step time about {numbers.percent(share)}, "
        memory = report.cost.memory_bytes / report.cost.control_memory_bytes
        measured = measured_memory(report)
        parts.append(f"vs. full training: {time}{measured} {numbers.percent(memory)}")
    return [*parts, f"took {numbers.duration(report.seconds)}"]


def measured_memory(report: SanityReport) -> str:
    """Return the name of the memory that a check measures: not that which is counted from sizes."""
    return "measured GPU peak" if report.device.startswith("cuda") else "measured memory without weights"


def finding_text(finding: Finding) -> str:
    """Return a finding in one or two lines."""
    names = listed(finding.tensors, most=3, longest=None)
    first = f"{_SIGNS[finding.severity]} {finding.code}  {finding.message}"
    fix = f"\n      fix: {printable(finding.fix)}" if finding.fix else ""
    return printable(f"{first}{f'  [{names}]' if names else ''}") + fix


def report_lines(report: SanityReport, stored: InFile | None = None) -> Iterator[str]:
    """Yield the whole report: the verdict, what it rests on, the findings with their fixes, the cost.

    Args:
        stored: what the checkpoint has of what was checked, if that is to be told.
    """
    yield headline(report, stored)
    for sentence in sentences(report, stored):
        yield f"  {sentence}"
    for finding in report.findings:
        yield finding_text(finding)
        for line in fix_code(finding, report.own):
            yield printable(f"        {line}")
    model = report.architecture or "no architecture"
    shape = f", input {numbers.shape(report.input)}" if report.input else ""
    yield printable(f"model: {model}{shape}") + ("" if report.forward else "; no forward pass")
    yield f"cost: {'; '.join(cost(report))}"
