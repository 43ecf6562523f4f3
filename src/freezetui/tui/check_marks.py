"""What a check's report says about single tensors: marks for the tree, words for the details pane."""

from __future__ import annotations

from freezetui.sanity.report import SanityReport
from freezetui.session.session import Session

#: As planned, needs attention, against the plan: positions in `tree_line.MARKS`.
FINE, LOOK, WRONG = 1, 4, 5


def marks_of(session: Session) -> bytes:
    """Return one mark per tensor of the tree; b"" without a report or if the plan has changed since."""
    report = session.report
    if report is None or session.report_is_stale or not report.frozen.tensors + report.trainable.tensors:
        return b""
    worse = _noted(report)
    return bytes(
        worse.get(tensor.name, 0 if tensor.untrainable_reason else FINE) for tensor in session.tree.tensors
    )


def outcome_of(session: Session, name: str) -> list[str]:
    """Return what the last check found out about one tensor, as lines of text; [] without a check."""
    report = session.report
    if report is None:
        return []
    when = " (out of date)" if session.report_is_stale else ""
    lines = [f"last check{when}: {_word(report, session, name)}"]
    if name in report.gradients:
        largest = report.gradients[name]
        lines.append(f"largest |gradient| {'not finite' if largest is None else format(largest, '.2g')}")
    for finding in report.findings:
        if name in finding.tensors:
            lines += ["", f"{finding.code}: {finding.message}"]
            lines += [f"fix: {finding.fix}"] if finding.fix else []
    return lines


def _noted(report: SanityReport) -> dict[str, int]:
    noted = dict.fromkeys(report.frozen.unproven, LOOK)
    noted |= {still.name: LOOK for still in report.trainable.still}
    noted |= dict.fromkeys(report.buffers.drifted, LOOK)
    for finding in report.findings:
        if finding.severity == "error":
            noted |= dict.fromkeys(finding.tensors, WRONG)
    return noted | dict.fromkeys(report.frozen.moved, WRONG)


def _word(report: SanityReport, session: Session, name: str) -> str:
    if name in report.frozen.moved:
        return "frozen, but changed"
    if name in report.buffers.drifted:
        return "buffer, changed"
    if name in report.frozen.unproven:
        return "unchanged, but also unchanged when trainable"
    for still in report.trainable.still:
        if still.name == name:
            return f"trainable but unchanged: {still.reason}"
    index = session.tree.first[session.tree.find(name)]
    states = {"frozen": "unchanged, bit for bit", "trainable": "changed, as it should"}
    return states.get(session.plan.totals(index, index + 1).state, "unchanged")
